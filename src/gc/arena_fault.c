/* SPDX-License-Identifier: Apache-2.0
 *
 * What is said when memory of a freed arena is touched.
 *
 * Runs in a handler of SIGSEGV: the list of freed chunks is looked at under its lock, which is
 * asked for for a bounded time only, and the sentence is one write.
 */
#include "gc/arena_fault.h"

#include "base/atomic.h"
#include "gc/arena_chunk.h"
#include "os/fault.h"
#include "os/say.h"

#include <stdint.h>

static void say(uintptr_t address) {
    uintptr_t freed_at = mal_arena_freed_at(address);
    if (freed_at)
        mal_warn("accessed %p in an arena that was freed at %p", (void *)address, (void *)freed_at);
}

void mal_arena_fault_prepare(void) {
    static uint32_t prepared; /* atomic */
    uint32_t no = 0;
    if (mal_cas_acquire(&prepared, &no, 1u))
        mal_fault_announce(say);
}
