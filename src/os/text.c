/* SPDX-License-Identifier: Apache-2.0
 *
 * The bounds of section mal_text, which the linker provides, and the program break.
 *
 * SYNCHRONIZATION. None: what is kept is constant after init.
 */
#include "os/text.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

extern const char __start_mal_text[] __attribute__((weak, visibility("hidden")));
extern const char __stop_mal_text[] __attribute__((weak, visibility("hidden")));

static uintptr_t break_at_init; /* constant after init */

struct mal_text_range mal_text_range(void) {
    return (struct mal_text_range){__start_mal_text, __stop_mal_text};
}

static uintptr_t current_break(void) {
    int saved_errno = errno;
    void *end = sbrk(0);
    errno = saved_errno;
    return end == (void *)-1 ? 0 : (uintptr_t)end;
}

void mal_break_remember(void) {
    break_at_init = current_break();
}

bool mal_break_contains(const void *address) {
    return break_at_init != 0 && (uintptr_t)address >= break_at_init &&
           (uintptr_t)address < current_break();
}

#if defined(MAL_SANITIZED)
bool mal_text_allows_rseq(void) {
    return false;
}
#else
bool mal_text_allows_rseq(void) {
    return true;
}
#endif
