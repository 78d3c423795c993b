/* SPDX-License-Identifier: Apache-2.0
 *
 * One sentence for an access to a freed arena.
 */
#ifndef MAL_GC_ARENA_FAULT_H
#define MAL_GC_ARENA_FAULT_H

/* Before the first arena is freed: has a say in SIGSEGV if nobody else does. Idempotent. */
void mal_arena_fault_prepare(void);

#endif
