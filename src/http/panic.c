/* SPDX-License-Identifier: Apache-2.0
 *
 * The library's panic.
 *
 * libmicrohttpd calls one handler for all of a process where it finds itself broken (a mutex that
 * cannot be taken, a descriptor that is gone), and by default ends the process. As a guest we must
 * not: on a thread of ours the thread ends and with it, in steps, the server (server.c); what it
 * held stays where it lies. On another thread it is the program's own use of the library, which
 * gets what it had got without us: a line and the end.
 *
 * The handler belongs to the program where it uses the library itself. One that it sets after us
 * takes the place of ours and keeps it, since we set ours once. Whether it set one before us cannot
 * be asked; but a library that was loaded before this code is the program's, so then its handler
 * stays, for our threads too.
 *
 * SYNCHRONIZATION  What guards a thread is the thread's own. pthread_once for the rest.
 *
 * It must never allocate, and never return to the library, which does not expect it.
 */
#include "http/panic.h"

#include <link.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LINE_BYTES 512

/* NULL on threads that are not ours. */
static _Thread_local void (*end_here)(void *context);
static _Thread_local void *end_context;

void http_panic_guard(void (*end)(void *context), void *context) {
    end_here = end;
    end_context = context;
}

static void say(const char *what, const char *file, unsigned line, const char *reason) {
    char text[LINE_BYTES];
    int bytes = snprintf(text, sizeof text, "mallard: %slibmicrohttpd failed at %s:%u: %s\n", what,
                         file, line, reason != NULL ? reason : "no reason given");
    size_t most = sizeof text - 1;
    ssize_t ignored = write(STDERR_FILENO, text, (size_t)bytes < most ? (size_t)bytes : most);
    (void)ignored;
}

static void on_panic(void *context, const char *file, unsigned line, const char *reason) {
    (void)context;
    if (end_here == NULL) {
        say("", file, line, reason);
        abort();
    }
    say("the HTTP server ends: ", file, line, reason);
    end_here(end_context);
    pthread_exit(NULL);
}

struct order {
    uintptr_t ours, theirs;
    int library_is_first;
};

static int contains(const struct dl_phdr_info *object, uintptr_t address) {
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_LOAD &&
            address - object->dlpi_addr - object->dlpi_phdr[i].p_vaddr <
                object->dlpi_phdr[i].p_memsz)
            return 1;
    return 0;
}

/* Objects are visited in the order in which they were loaded; what one needs comes after it. */
static int visit(struct dl_phdr_info *object, size_t bytes, void *context) {
    struct order *order = context;
    (void)bytes;
    if (contains(object, order->ours))
        return 1;
    order->library_is_first = contains(object, order->theirs);
    return order->library_is_first;
}

static void install(void) {
    struct order order = {(uintptr_t)on_panic, (uintptr_t)MHD_set_panic_func, 0};
    dl_iterate_phdr(visit, &order);
    if (!order.library_is_first)
        MHD_set_panic_func(on_panic, NULL);
}

void http_panic_install(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}
