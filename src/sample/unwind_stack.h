/* SPDX-License-Identifier: Apache-2.0
 *
 * What of a stack may be loaded by who walks it.
 */
#ifndef MAL_SAMPLE_UNWIND_STACK_H
#define MAL_SAMPLE_UNWIND_STACK_H

#include "base/attr.h"
#include "os/unwind_arch.h"

#include <stdbool.h>
#include <stdint.h>

/* Words may be loaded from [lo, lo + span]. */
struct mal_unwind_stack {
    uintptr_t lo;
    uintptr_t span;
    bool can_grow;
};

/* The stack that `sp` is on. A garbage sp gives a stack that nothing can be loaded from: false. */
bool mal_unwind_stack_at(uintptr_t sp, struct mal_unwind_stack *ret_stack);

/* Looks whether the stack reaches up to `address`. */
MAL_SLOW bool mal_unwind_stack_grow(struct mal_unwind_stack *stack, uintptr_t address);

/* After a walk over so much of another stack that it may be the own one, grown a lot: looks whether
 * the known part of the own one begins a little further on. */
MAL_SLOW void mal_unwind_stack_try_to_join(struct mal_unwind_stack *stack);

/* The word at `address`; false when it may not be loaded. */
MAL_FAST bool mal_unwind_stack_load(struct mal_unwind_stack *stack, uintptr_t address,
                                    uintptr_t *ret_value) {
    if (MAL_UNLIKELY(address - stack->lo > stack->span) && !mal_unwind_stack_grow(stack, address))
        return false;
    *ret_value = mal_unwind_arch_load(address);
    return true;
}

#endif
