/* SPDX-License-Identifier: Apache-2.0
 *
 * A typical box served from memory, for tests of routes without a socket. Include after cmocka.h.
 */
#ifndef MAL_TESTS_SUPPORT_HTTP_SCENE_H
#define MAL_TESTS_SUPPORT_HTTP_SCENE_H

#include "http/routes.h"
#include "support/box_fixture.h"
#include "view/view.h"

static struct box_fixture *box;
static struct http_memory_source memory;
static struct http_source source;
static struct http_context context;

static inline int scene_begin(void **state) {
    (void)state;
    box = box_fixture_typical();
    memory = (struct http_memory_source){box_fixture_base(box), box_fixture_bytes(box)};
    source = http_memory_source(&memory);
    context =
        (struct http_context){.source = &source, .address = "127.0.0.1:6060", .scheme = "http"};
    return view_symbols_create(&context.symbols);
}

static inline int scene_end(void **state) {
    (void)state;
    view_symbols_destroy(context.symbols);
    box_fixture_free(box);
    return 0;
}

#endif
