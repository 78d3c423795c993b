/* SPDX-License-Identifier: Apache-2.0
 *
 * State bytes of class spans: one shared array per class, and private ones for spans that held a
 * sampled object or of which memory was given back. All calls under the page heap's lock but
 * mal_states_init.
 */
#ifndef MAL_PAGEHEAP_STATES_H
#define MAL_PAGEHEAP_STATES_H

#include "base/attr.h"
#include "pageheap/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the shared arrays lie, one behind the other; constant after init. */
struct mal_states_shared {
    uintptr_t base;
    size_t bytes;
};
extern MAL_HIDDEN struct mal_states_shared mal_states_shared;

/* Whether a state byte that the page map led to is its span's own: then it remains so until the
 * span ends. */
static inline bool mal_states_are_own(const uint8_t *state) {
    return (uintptr_t)state - mal_states_shared.base >= mal_states_shared.bytes;
}

/* Fills the shared arrays; 0 or -ENOMEM. Once, after mal_classes_init. */
int mal_states_init(void);

/* Gives the span its class's array. */
void mal_states_share_locked(struct mal_span *span);

/* Gives the span an array of its own, which says the same; false when memory is short. */
bool mal_states_own_locked(struct mal_span *span);

/* The span is about to end. */
void mal_states_drop_locked(struct mal_span *span);

/* Bytes of the span's own array; 0 while it shares. */
size_t mal_states_own_bytes(const struct mal_span *span);

#endif
