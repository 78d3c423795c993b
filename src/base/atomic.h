/* SPDX-License-Identifier: Apache-2.0
 *
 * Atomic access to plain integers, named by order. Every shared field says in a comment which of
 * these it is read and written with, or which lock guards it.
 */
#ifndef MAL_BASE_ATOMIC_H
#define MAL_BASE_ATOMIC_H

#define mal_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define mal_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define mal_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define mal_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define mal_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define mal_add_release(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELEASE)
#define mal_sub_relaxed(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED)
#define mal_or_relaxed(p, v) __atomic_fetch_or((p), (v), __ATOMIC_RELAXED)
#define mal_and_relaxed(p, v) __atomic_fetch_and((p), (v), __ATOMIC_RELAXED)
#define mal_exchange_acquire(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE)
#define mal_exchange_release(p, v) __atomic_exchange_n((p), (v), __ATOMIC_RELEASE)

/* In one order that all threads agree on: for the two sides of "I store mine and look at yours". */
#define mal_load_seq_cst(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define mal_store_seq_cst(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define mal_exchange_seq_cst(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)

/* On failure *expected becomes what was found. */
#define mal_cas_acquire(p, expected, v)                                                            \
    __atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)
#define mal_cas_release(p, expected, v)                                                            \
    __atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED)
#define mal_cas_relaxed(p, expected, v)                                                            \
    __atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)

#endif
