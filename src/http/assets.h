/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of the page, compressed into this program when it was built: src/http/assets.sh makes
 * the table from what web/ was built to. A program that was built without them has an empty one,
 * and its pages are plain HTML.
 */
#ifndef MAL_HTTP_ASSETS_H
#define MAL_HTTP_ASSETS_H

#include "view/buffer.h"

#include <stddef.h>

struct http_asset {
    const char *name;          /* NULL ends the table */
    const char *type;          /* Content-Type; NULL: not served */
    const unsigned char *data; /* one gzip member */
    size_t bytes, plain_bytes;
};
extern const struct http_asset http_assets[];

/* The asset of that name; NULL when there is none. */
const struct http_asset *http_asset_find(const char *name);

/* The first one whose name begins and ends like that: names in between carry a hash. */
const struct http_asset *http_asset_like(const char *begin, const char *end);

/* Appends the plain content. 0 or -errno. */
int http_asset_inflate(const struct http_asset *asset, struct view_buffer *out);

#endif
