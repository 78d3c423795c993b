/* SPDX-License-Identifier: Apache-2.0
 *
 * How unwind tables write pointers.
 *
 * An encoding is one byte: the low four bits are the form of the number (fixed lengths, LEB128,
 * signed or not), the next three what it is relative to. What linkers write is a signed 32-bit
 * number relative to its own place; the others cost a line each. An encoding that is not known, or
 * relative to what is not known here (functions, text, data), makes the reader bad.
 *
 * SYNCHRONIZATION. None: the reader is the caller's.
 *
 * This must never read outside of the reader's bounds; that is mal_cfi_take's check (cfi_bytes.h).
 */
#include "sample/cfi_bytes.h"

/* The names of the standard base. */
enum {
    DW_EH_PE_absptr = 0x00,
    DW_EH_PE_uleb128 = 0x01,
    DW_EH_PE_udata2 = 0x02,
    DW_EH_PE_udata4 = 0x03,
    DW_EH_PE_udata8 = 0x04,
    DW_EH_PE_sleb128 = 0x09,
    DW_EH_PE_sdata2 = 0x0a,
    DW_EH_PE_sdata4 = 0x0b,
    DW_EH_PE_sdata8 = 0x0c,
    DW_EH_PE_pcrel = 0x10,
    DW_EH_PE_datarel = 0x30,
};

uint64_t mal_cfi_take_format(struct mal_cfi_bytes *r, uint8_t encoding) {
    switch (encoding & 0x0f) {
    case DW_EH_PE_absptr:
    case DW_EH_PE_udata8:
    case DW_EH_PE_sdata8:
        return mal_cfi_take(r, 8);
    case DW_EH_PE_uleb128:
        return mal_cfi_take_uleb(r);
    case DW_EH_PE_udata2:
        return mal_cfi_take(r, 2);
    case DW_EH_PE_udata4:
        return mal_cfi_take(r, 4);
    case DW_EH_PE_sleb128:
        return mal_cfi_take_sleb(r);
    case DW_EH_PE_sdata2:
        return mal_cfi_take_signed(r, 2);
    case DW_EH_PE_sdata4:
        return mal_cfi_take_signed(r, 4);
    default:
        r->bad = true;
        return 0;
    }
}

uintptr_t mal_cfi_take_pointer(struct mal_cfi_bytes *r, uint8_t encoding, uintptr_t hdr) {
    uintptr_t here = (uintptr_t)r->at;
    uint64_t value = mal_cfi_take_format(r, encoding);
    switch (encoding & 0x70) {
    case DW_EH_PE_absptr:
        return value;
    case DW_EH_PE_pcrel:
        return here + value;
    case DW_EH_PE_datarel:
        return hdr + value;
    default:
        r->bad = true;
        return 0;
    }
}
