/* SPDX-License-Identifier: Apache-2.0
 *
 * The unwind table's entry for one pc: its FDE and the CIE that the FDE names, taken apart.
 */
#ifndef MAL_SAMPLE_CFI_ENTRY_H
#define MAL_SAMPLE_CFI_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "sample/cfi_bytes.h"
#include "sample/unwind_cfi.h"

/* The register that the return address counts as: where the pc is in a register, its rule is that
 * register's. */
enum { MAL_CFI_RA = MAL_UNWIND_HAS_LR ? MAL_UNWIND_LR : MAL_UNWIND_RA };

struct mal_cfi_entry {
    struct mal_cfi_bytes cie_code; /* the program that comes first */
    struct mal_cfi_bytes fde_code;
    uintptr_t start; /* of the function */
    uint64_t code_unit;
    uint64_t data_unit; /* signed, kept as its two's complement */
    uint8_t pointer_encoding;
    bool is_signal;
    bool has_augmentation; /* the FDE carries a length of data to skip */
};

/* False: no entry covers `pc`, or it is damaged, or of a form that is not known. No lock, no
 * malloc; asks the kernel about each page that it reads. */
bool mal_cfi_entry_find(const struct mal_unwind_image *image, uintptr_t pc,
                        struct mal_cfi_entry *ret_entry);

#endif
