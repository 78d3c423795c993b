/* SPDX-License-Identifier: Apache-2.0
 *
 * What DWARF call frame information says about one pc, boiled down to a row of fixed size: how to
 * get from a frame's registers to its caller's.
 *
 *     CFA       = reg[cfa_reg] + cfa_offset, or the word there when MAL_UNWIND_ROW_DEREF
 *     caller sp = CFA
 *     caller r  = reg[r] unchanged                              saved[r] == MAL_UNWIND_SAME
 *                 not known any more                            saved[r] == MAL_UNWIND_LOST
 *                 word at reg[base_reg] + 8 * saved[r]          bit r of base_mask is set
 *                 word at CFA + 8 * saved[r]                    otherwise
 *
 * for each r of enum mal_unwind_reg below MAL_UNWIND_SP; r == MAL_UNWIND_RA gives the caller's
 * pc, which is the caller's link register where that is MAL_UNWIND_SAME.
 *
 * base_reg serves frames whose saved registers are not placed relative to the CFA: signal frames
 * (the kernel's context at sp) and functions that realign their stack (rbp, with the CFA in
 * memory). A row holds no address, so it is true wherever its object is loaded.
 */
#ifndef MAL_SAMPLE_UNWIND_CFI_H
#define MAL_SAMPLE_UNWIND_CFI_H

#include <stddef.h>
#include <stdint.h>

#include "os/unwind_arch.h"

enum mal_unwind_row_flag {
    MAL_UNWIND_ROW_DEREF = 1,  /* see above */
    MAL_UNWIND_ROW_MIXED = 2,  /* base_mask or a MAL_UNWIND_LOST is in use */
    MAL_UNWIND_ROW_SIGNAL = 4, /* the caller was interrupted: its pc is exact, sp may be anywhere */
    MAL_UNWIND_ROW_END = 8,    /* there is no caller */
    MAL_UNWIND_ROW_FULL = 16,  /* cfa_reg or base_reg is neither sp nor the frame pointer */
    MAL_UNWIND_ROW_NO_CFI = 32, /* nothing (usable) is known; every other field is zero */
};

#define MAL_UNWIND_SAME INT16_MIN
#define MAL_UNWIND_LOST (INT16_MIN + 1)

/* Compared bytewise: no padding. A row with flags == 0 is what nearly all frames have. */
struct mal_unwind_row {
    int32_t cfa_offset; /* bytes */
    uint8_t cfa_reg;
    uint8_t flags;
    uint8_t base_reg;
    uint8_t unused; /* zero */
    uint16_t base_mask;
    int16_t saved[MAL_UNWIND_SP]; /* words of eight bytes */
};

_Static_assert(sizeof(struct mal_unwind_row) == 10 + 2 * MAL_UNWIND_SP, "compared bytewise");

/* A loaded object: its address range and its .eh_frame_hdr. */
struct mal_unwind_image {
    uintptr_t lo;
    uintptr_t hi;
    uintptr_t hdr;
};

/* The row of `pc`, which lies in `image`. Damaged tables, and rules that a row cannot hold, give a
 * MAL_UNWIND_ROW_NO_CFI. No lock, no malloc; asks the kernel before it reads a page of tables. */
void mal_unwind_cfi_row(const struct mal_unwind_image *image, uintptr_t pc,
                        struct mal_unwind_row *ret_row);

#endif
