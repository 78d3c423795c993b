/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules in force at one pc, by which a frame's registers become its caller's.
 */
#ifndef MAL_SAMPLE_CFI_RULES_H
#define MAL_SAMPLE_CFI_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "os/unwind_arch.h"
#include "sample/cfi_entry.h"

enum mal_cfi_rule_kind {
    MAL_CFI_SAME,  /* the register is unchanged */
    MAL_CFI_CFA,   /* in memory at CFA + offset */
    MAL_CFI_REG,   /* in memory at reg + offset; for the CFA: is reg + offset */
    MAL_CFI_DEREF, /* for the CFA: is the word at reg + offset */
    MAL_CFI_LOST,  /* not to be known; for the CFA also: not set yet */
    MAL_CFI_NONE,  /* undefined: for the return address, the end of the stack */
};

struct mal_cfi_rule {
    enum mal_cfi_rule_kind kind;
    uint8_t reg;
    int64_t offset;
};

struct mal_cfi_rules {
    struct mal_cfi_rule cfa;
    struct mal_cfi_rule saved[MAL_UNWIND_SP];
};

/* Runs the entry's two programs up to `pc`, which it covers, in the image that it is from. False:
 * a program is damaged, or says what is not known here. No lock, no malloc. */
bool mal_cfi_rules_at(const struct mal_unwind_image *image, const struct mal_cfi_entry *entry,
                      uintptr_t pc, struct mal_cfi_rules *ret_rules);

#endif
