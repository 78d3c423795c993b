/* SPDX-License-Identifier: Apache-2.0
 *
 * Large objects move by their pages, not by their bytes.
 */
#ifndef MAL_PAGEHEAP_MOVE_H
#define MAL_PAGEHEAP_MOVE_H

#include "pageheap/span.h"

#include <stdbool.h>
#include <stddef.h>

/* Moves what is in one large span to another one that is at least as long; the first one reads as
 * zero then and is to be freed. REFUSED, and nothing has changed, where that cannot be done or does
 * not pay. LOST: `from` is as it was, `to` must not be touched and is to be freed. The caller owns
 * both; no lock. */
enum mal_move { MAL_MOVE_REFUSED, MAL_MOVE_DONE, MAL_MOVE_LOST };
enum mal_move mal_move_large(struct mal_span *from, struct mal_span *to);

/* The page heap is about to take a large span back, or what lies behind its first `pages`. Nothing
 * is resident afterwards where the span says GONE, or the second one true. */
void mal_move_end(struct mal_span *span);
bool mal_move_cut(struct mal_span *span, size_t pages);

#endif
