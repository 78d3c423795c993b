/* SPDX-License-Identifier: Apache-2.0
 *
 * The value of a DWARF expression, as far as a row can hold it.
 */
#ifndef MAL_SAMPLE_CFI_EXPRESSION_H
#define MAL_SAMPLE_CFI_EXPRESSION_H

#include <stdint.h>

#include "sample/cfi_bytes.h"

enum mal_cfi_value_kind {
    MAL_CFI_VALUE_CONST,   /* value */
    MAL_CFI_VALUE_PC,      /* pc + something; only while an expression is run */
    MAL_CFI_VALUE_REG,     /* reg + value */
    MAL_CFI_VALUE_DEREF,   /* the word at reg + value */
    MAL_CFI_VALUE_UNKNOWN, /* not one of these, or the expression is damaged */
};

struct mal_cfi_value {
    enum mal_cfi_value_kind kind;
    uint8_t reg; /* enum mal_unwind_reg */
    uint64_t value;
};

/* Runs `code` for a frame at `pc`. `depth` is 1 where DWARF has the CFA on the stack at the start,
 * else 0. No lock, no malloc; ends after at most as many steps as `code` has bytes. */
struct mal_cfi_value mal_cfi_evaluate(struct mal_cfi_bytes code, uintptr_t pc, unsigned depth);

#endif
