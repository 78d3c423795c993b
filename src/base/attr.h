/* SPDX-License-Identifier: Apache-2.0
 *
 * Words for the compiler. FAST marks code on the allocation fast path: always inlined, so that
 * the whole path is one function. SLOW marks everything that leaves it: never inlined and laid
 * out away from the hot lines. LIKELY and UNLIKELY belong in FAST functions only.
 */
#ifndef MAL_BASE_ATTR_H
#define MAL_BASE_ATTR_H

#define MAL_FAST static inline __attribute__((always_inline))
#define MAL_SLOW __attribute__((noinline, cold))
#define MAL_LIKELY(x) __builtin_expect(!!(x), 1)
#define MAL_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define MAL_PUBLIC __attribute__((visibility("default")))
/* -fvisibility=hidden hides definitions; a declaration must say it too, or its users go through the
 * global offset table. */
#define MAL_HIDDEN __attribute__((visibility("hidden")))
#define MAL_UNUSED __attribute__((unused))
#define MAL_PRINTF(at, first) __attribute__((__format__(__printf__, at, first)))

/* Reads whatever lies in a stack or a segment, also what AddressSanitizer keeps others off, and
 * what somebody may be writing, which ThreadSanitizer reports. */
#define MAL_READS_ANYTHING __attribute__((no_sanitize("address", "thread")))

/* The core is loaded at start-up or linked in, so its thread variables live in the static block:
 * one addressing mode, no call, no allocation on first use. */
#define MAL_THREAD __thread __attribute__((tls_model("initial-exec")))

/* Makes the compiler compute an address into one register before it is used. Some processors
 * forward a store to a load of the same place at no cost, but only where both use base + constant,
 * not base + index: measured, see src/README.md. */
#define MAL_ONE_REGISTER(address) __asm__("" : "+r"(address))

#define MAL_CACHE_LINE_BYTES 64
#define MAL_LINE_ALIGNED __attribute__((aligned(MAL_CACHE_LINE_BYTES)))

#define MAL_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
