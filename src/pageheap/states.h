/* SPDX-License-Identifier: Apache-2.0
 *
 * State bytes of class spans: one shared array per class, and private ones for spans that held a
 * sampled object or of which memory was given back. All calls under the page heap's lock but
 * mal_states_init.
 */
#ifndef MAL_PAGEHEAP_STATES_H
#define MAL_PAGEHEAP_STATES_H

#include "pageheap/span.h"

#include <stdbool.h>

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
