/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded reading of unwind tables, little endian. After a read past the end `bad` is set and all
 * further reads give 0, so a program is checked once, at its end, and not after each operand. No
 * function loops without consuming bytes.
 *
 * Threads: none is shared; a reader belongs to the stack it is on.
 */
#ifndef MAL_SAMPLE_CFI_BYTES_H
#define MAL_SAMPLE_CFI_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct mal_cfi_bytes {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

/* A number as a DW_EH_PE encoding says it is written: the low four bits of `encoding`. */
uint64_t mal_cfi_take_format(struct mal_cfi_bytes *r, uint8_t encoding);

/* The same as an address: the next three bits say what the number is relative to, nothing, its own
 * place or `hdr`, the object's .eh_frame_hdr. */
uintptr_t mal_cfi_take_pointer(struct mal_cfi_bytes *r, uint8_t encoding, uintptr_t hdr);

static inline uint64_t mal_cfi_take(struct mal_cfi_bytes *r, unsigned bytes) {
    uint64_t value = 0;
    if (r->bad || (size_t)(r->end - r->at) < bytes) {
        r->bad = true;
        return 0;
    }
    memcpy(&value, r->at, bytes);
    r->at += bytes;
    return value;
}

static inline uint64_t mal_cfi_take_signed(struct mal_cfi_bytes *r, unsigned bytes) {
    unsigned unused_bits = 64 - 8 * bytes;
    return (uint64_t)((int64_t)(mal_cfi_take(r, bytes) << unused_bits) >> unused_bits);
}

static inline uint64_t mal_cfi_take_leb(struct mal_cfi_bytes *r, bool is_signed) {
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        byte = (uint8_t)mal_cfi_take(r, 1);
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        shift += 7;
    } while (byte & 0x80);
    if (is_signed && (byte & 0x40) && shift < 64)
        value |= ~0ull << shift;
    return value;
}

static inline uint64_t mal_cfi_take_uleb(struct mal_cfi_bytes *r) {
    return mal_cfi_take_leb(r, false);
}

static inline uint64_t mal_cfi_take_sleb(struct mal_cfi_bytes *r) {
    return mal_cfi_take_leb(r, true);
}

/* The next `bytes` bytes as a reader of their own. */
static inline struct mal_cfi_bytes mal_cfi_take_block(struct mal_cfi_bytes *r, uint64_t bytes) {
    struct mal_cfi_bytes block = {r->at, r->at, true};
    if (r->bad || bytes > (size_t)(r->end - r->at)) {
        r->bad = true;
        return block;
    }
    r->at += bytes;
    block.end = r->at;
    block.bad = false;
    return block;
}

#endif
