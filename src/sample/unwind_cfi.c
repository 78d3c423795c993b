/* SPDX-License-Identifier: Apache-2.0
 *
 * A row from .eh_frame.
 *
 * Down: cfi_entry.c finds the entry of the pc in the object's tables, cfi_rules.c runs its programs
 * and leaves one rule per register; here those are packed into a row, which has a fixed size and
 * holds no address. What a row cannot hold is marked lost: two base registers, offsets that are
 * odd or far.
 *
 * SYNCHRONIZATION. None: everything is on the caller's stack.
 *
 * This must never give a row that a damaged table could have meant as something else: whatever is
 * not understood to its end gives MAL_UNWIND_ROW_NO_CFI. It must never call malloc.
 */
#include "sample/unwind_cfi.h"

#include <stdbool.h>
#include <string.h>

#include "sample/cfi_entry.h"
#include "sample/cfi_rules.h"

static bool is_near(uint8_t reg) {
    return reg == MAL_UNWIND_SP || reg == MAL_UNWIND_BP;
}

/* A row has one base register; rules on a second one are lost. */
static bool pack_base(struct mal_unwind_row *row, unsigned reg, const struct mal_cfi_rule *rule) {
    if (row->base_mask != 0 && row->base_reg != rule->reg)
        return false;
    row->base_reg = rule->reg;
    row->base_mask |= (uint16_t)(1u << reg);
    row->flags |= MAL_UNWIND_ROW_MIXED;
    row->flags |= is_near(rule->reg) ? 0 : MAL_UNWIND_ROW_FULL;
    return true;
}

static void pack_rule(struct mal_unwind_row *row, unsigned reg, const struct mal_cfi_rule *rule) {
    bool fits = rule->offset % 8 == 0 && rule->offset / 8 > MAL_UNWIND_LOST &&
                rule->offset / 8 <= INT16_MAX;
    row->saved[reg] = MAL_UNWIND_SAME;
    if (rule->kind == MAL_CFI_SAME)
        return;
    row->saved[reg] = (int16_t)(rule->offset / 8);
    if (fits && rule->kind == MAL_CFI_CFA)
        return;
    if (fits && rule->kind == MAL_CFI_REG && pack_base(row, reg, rule))
        return;
    row->saved[reg] = MAL_UNWIND_LOST;
    row->flags |= MAL_UNWIND_ROW_MIXED;
}

/* A signal frame whose pc has no column of its own would lead to the interrupted function's
 * caller; the walker knows such frames by their code instead. */
static bool is_packable(const struct mal_cfi_rules *rules, bool is_signal) {
    const struct mal_cfi_rule *cfa = &rules->cfa;
    enum mal_cfi_rule_kind ra = rules->saved[MAL_CFI_RA].kind;
    bool has_cfa = cfa->kind == MAL_CFI_REG || cfa->kind == MAL_CFI_DEREF;
    bool has_ra = ra != MAL_CFI_LOST && (MAL_UNWIND_HAS_LR || ra != MAL_CFI_SAME);
    return has_cfa && has_ra && cfa->offset == (int32_t)cfa->offset &&
           !(is_signal && MAL_UNWIND_HAS_LR);
}

static bool pack(const struct mal_cfi_rules *rules, bool is_signal, struct mal_unwind_row *row) {
    const struct mal_cfi_rule *cfa = &rules->cfa;
    if (rules->saved[MAL_CFI_RA].kind == MAL_CFI_NONE) {
        row->flags = MAL_UNWIND_ROW_END;
        return true;
    }
    if (!is_packable(rules, is_signal))
        return false;
    row->cfa_offset = (int32_t)cfa->offset;
    row->cfa_reg = cfa->reg;
    row->flags |= cfa->kind == MAL_CFI_DEREF ? MAL_UNWIND_ROW_DEREF : 0;
    row->flags |= is_signal ? MAL_UNWIND_ROW_SIGNAL : 0;
    row->flags |= is_near(cfa->reg) ? 0 : MAL_UNWIND_ROW_FULL;
    for (unsigned reg = 0; reg < MAL_UNWIND_SP; reg++)
        pack_rule(row, reg, &rules->saved[reg]);
    return true;
}

void mal_unwind_cfi_row(const struct mal_unwind_image *image, uintptr_t pc,
                        struct mal_unwind_row *ret_row) {
    struct mal_cfi_entry entry;
    struct mal_cfi_rules rules;
    memset(ret_row, 0, sizeof *ret_row);
    if (mal_cfi_entry_find(image, pc, &entry) && mal_cfi_rules_at(image, &entry, pc, &rules) &&
        pack(&rules, entry.is_signal, ret_row))
        return;
    memset(ret_row, 0, sizeof *ret_row);
    ret_row->flags = MAL_UNWIND_ROW_NO_CFI;
}
