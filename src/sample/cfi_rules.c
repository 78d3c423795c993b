/* SPDX-License-Identifier: Apache-2.0
 *
 * Running call frame programs.
 *
 * CIE and FDE hold programs for a machine whose state is one rule per register, plus one for the
 * CFA. Run up to the pc, first the CIE's and then the FDE's, they leave the rules in force there.
 * Where a rule is an expression, cfi_expression.c says what it comes to.
 *
 * Registers that calls do not preserve are not followed: nobody needs them to find a return
 * address, except a function interrupted while it realigns its stack.
 *
 * SYNCHRONIZATION. None: everything is on the caller's stack (about 2 KiB).
 *
 * This must never loop without consuming bytes, and never call malloc.
 */
#include "sample/cfi_rules.h"

#include <string.h>

#include "sample/cfi_expression.h"

enum { REMEMBER_MAX = 4 };

/* DWARF's names. The three most frequent have their operand in the low six bits of the byte. */
enum {
    DW_CFA_nop = 0x00,
    DW_CFA_set_loc = 0x01,
    DW_CFA_advance_loc1 = 0x02,
    DW_CFA_advance_loc2 = 0x03,
    DW_CFA_advance_loc4 = 0x04,
    DW_CFA_offset_extended = 0x05,
    DW_CFA_restore_extended = 0x06,
    DW_CFA_undefined = 0x07,
    DW_CFA_same_value = 0x08,
    DW_CFA_register = 0x09,
    DW_CFA_remember_state = 0x0a,
    DW_CFA_restore_state = 0x0b,
    DW_CFA_def_cfa = 0x0c,
    DW_CFA_def_cfa_register = 0x0d,
    DW_CFA_def_cfa_offset = 0x0e,
    DW_CFA_def_cfa_expression = 0x0f,
    DW_CFA_expression = 0x10,
    DW_CFA_offset_extended_sf = 0x11,
    DW_CFA_def_cfa_sf = 0x12,
    DW_CFA_def_cfa_offset_sf = 0x13,
    DW_CFA_val_offset = 0x14,
    DW_CFA_val_offset_sf = 0x15,
    DW_CFA_val_expression = 0x16,
    DW_CFA_GNU_window_save = 0x2d,
    DW_CFA_GNU_args_size = 0x2e,
    DW_CFA_GNU_negative_offset_extended = 0x2f,
};
enum {
    DW_CFA_advance_loc = 1,
    DW_CFA_offset = 2,
    DW_CFA_restore = 3,
};

struct machine {
    const struct mal_cfi_entry *entry;
    struct mal_cfi_bytes code;
    uintptr_t hdr;
    uintptr_t pc;       /* where to stop */
    uintptr_t location; /* what the rules in force apply to, and upwards */
    struct mal_cfi_rules now;
    struct mal_cfi_rules initial;
    struct mal_cfi_rules remembered[REMEMBER_MAX];
    unsigned depth;
};

static struct mal_cfi_rule rule_of(struct mal_cfi_value item) {
    struct mal_cfi_rule rule = {MAL_CFI_LOST, item.reg, (int64_t)item.value};
    if (item.kind == MAL_CFI_VALUE_REG)
        rule.kind = MAL_CFI_REG;
    else if (item.kind == MAL_CFI_VALUE_DEREF)
        rule.kind = MAL_CFI_DEREF;
    return rule;
}

static void set_rule(struct machine *m, uint64_t dwarf, enum mal_cfi_rule_kind kind,
                     uint64_t offset) {
    uint8_t reg = mal_unwind_arch_register(dwarf);
    if (reg < MAL_UNWIND_SP)
        m->now.saved[reg] = (struct mal_cfi_rule){kind, 0, (int64_t)offset};
}

static void restore_rule(struct machine *m, uint64_t dwarf) {
    uint8_t reg = mal_unwind_arch_register(dwarf);
    if (reg < MAL_UNWIND_SP)
        m->now.saved[reg] = m->initial.saved[reg];
}

static void set_cfa(struct machine *m, uint64_t dwarf, uint64_t offset) {
    uint8_t reg = mal_unwind_arch_register(dwarf);
    enum mal_cfi_rule_kind kind = reg < MAL_UNWIND_REG_COUNT ? MAL_CFI_REG : MAL_CFI_LOST;
    m->now.cfa = (struct mal_cfi_rule){kind, reg, (int64_t)offset};
}

static bool step_location(struct machine *m, uint8_t op) {
    struct mal_cfi_bytes *r = &m->code;
    switch (op) {
    case DW_CFA_set_loc:
        m->location = mal_cfi_take_pointer(r, m->entry->pointer_encoding, m->hdr);
        return true;
    case DW_CFA_advance_loc1:
    case DW_CFA_advance_loc2:
    case DW_CFA_advance_loc4:
        m->location += mal_cfi_take(r, 1u << (op - DW_CFA_advance_loc1)) * m->entry->code_unit;
        return true;
    default:
        return false;
    }
}

static bool step_cfa(struct machine *m, uint8_t op) {
    struct mal_cfi_bytes *r = &m->code;
    switch (op) {
    case DW_CFA_def_cfa:
    case DW_CFA_def_cfa_sf: {
        uint64_t dwarf = mal_cfi_take_uleb(r);
        set_cfa(m, dwarf,
                op == DW_CFA_def_cfa ? mal_cfi_take_uleb(r)
                                     : mal_cfi_take_sleb(r) * m->entry->data_unit);
        return true;
    }
    case DW_CFA_def_cfa_register: {
        int64_t offset = m->now.cfa.offset;
        set_cfa(m, mal_cfi_take_uleb(r), (uint64_t)offset);
        return true;
    }
    case DW_CFA_def_cfa_offset:
        m->now.cfa.offset = (int64_t)mal_cfi_take_uleb(r);
        return true;
    case DW_CFA_def_cfa_offset_sf:
        m->now.cfa.offset = (int64_t)(mal_cfi_take_sleb(r) * m->entry->data_unit);
        return true;
    case DW_CFA_def_cfa_expression:
        m->now.cfa =
            rule_of(mal_cfi_evaluate(mal_cfi_take_block(r, mal_cfi_take_uleb(r)), m->pc, 0));
        return true;
    default:
        return false;
    }
}

static void set_expression(struct machine *m) {
    uint64_t dwarf = mal_cfi_take_uleb(&m->code);
    struct mal_cfi_value item =
        mal_cfi_evaluate(mal_cfi_take_block(&m->code, mal_cfi_take_uleb(&m->code)), m->pc, 1);
    uint8_t reg = mal_unwind_arch_register(dwarf);
    if (reg >= MAL_UNWIND_SP)
        return;
    m->now.saved[reg] = rule_of(item);
    if (item.kind != MAL_CFI_VALUE_REG)
        m->now.saved[reg].kind = MAL_CFI_LOST;
}

/* offset_extended and its kin: a register, then where it is. */
static bool step_register(struct machine *m, uint8_t op) {
    struct mal_cfi_bytes *r = &m->code;
    if (op == DW_CFA_expression) {
        set_expression(m);
        return true;
    }
    bool is_offset = op == DW_CFA_offset_extended || op == DW_CFA_offset_extended_sf ||
                     op == DW_CFA_GNU_negative_offset_extended;
    bool is_lost = op == DW_CFA_register || op == DW_CFA_val_offset || op == DW_CFA_val_offset_sf ||
                   op == DW_CFA_val_expression;
    if (!is_offset && !is_lost && op != DW_CFA_restore_extended && op != DW_CFA_undefined &&
        op != DW_CFA_same_value)
        return false;
    uint64_t dwarf = mal_cfi_take_uleb(r);
    if (op == DW_CFA_offset_extended)
        set_rule(m, dwarf, MAL_CFI_CFA, mal_cfi_take_uleb(r) * m->entry->data_unit);
    else if (op == DW_CFA_offset_extended_sf)
        set_rule(m, dwarf, MAL_CFI_CFA, mal_cfi_take_sleb(r) * m->entry->data_unit);
    else if (op == DW_CFA_GNU_negative_offset_extended)
        set_rule(m, dwarf, MAL_CFI_CFA, -(mal_cfi_take_uleb(r) * m->entry->data_unit));
    else if (op == DW_CFA_restore_extended)
        restore_rule(m, dwarf);
    else if (op == DW_CFA_undefined)
        set_rule(m, dwarf, MAL_CFI_NONE, 0);
    else if (op == DW_CFA_same_value)
        set_rule(m, dwarf, MAL_CFI_SAME, 0);
    else { /* held in another register, or a value rather than a place */
        uint64_t operand = mal_cfi_take_uleb(r);
        if (op == DW_CFA_val_expression)
            mal_cfi_take_block(r, operand);
        set_rule(m, dwarf, MAL_CFI_LOST, 0);
    }
    return true;
}

/* remember, restore, and what says nothing about registers: nop, the size of pushed arguments,
 * and the toggle of signed return addresses, which the walker strips in any case. */
static bool step_state(struct machine *m, uint8_t op) {
    switch (op) {
    case DW_CFA_remember_state:
        if (m->depth == REMEMBER_MAX)
            return false;
        m->remembered[m->depth++] = m->now;
        return true;
    case DW_CFA_restore_state:
        if (m->depth == 0)
            return false;
        m->now = m->remembered[--m->depth];
        return true;
    case DW_CFA_GNU_args_size:
        mal_cfi_take_uleb(&m->code);
        return true;
    default:
        return op == DW_CFA_nop || op == DW_CFA_GNU_window_save;
    }
}

/* Runs until the rules no longer apply to m->pc. */
static bool run(struct machine *m) {
    struct mal_cfi_bytes *r = &m->code;
    while (!r->bad && r->at < r->end && m->location <= m->pc) {
        uint8_t op = (uint8_t)mal_cfi_take(r, 1);
        uint8_t low = op & 0x3f;
        switch (op >> 6) {
        case DW_CFA_advance_loc:
            m->location += low * m->entry->code_unit;
            break;
        case DW_CFA_offset:
            set_rule(m, low, MAL_CFI_CFA, mal_cfi_take_uleb(r) * m->entry->data_unit);
            break;
        case DW_CFA_restore:
            restore_rule(m, low);
            break;
        default:
            r->bad |= !step_location(m, low) && !step_cfa(m, low) && !step_register(m, low) &&
                      !step_state(m, low);
        }
    }
    return !r->bad;
}

bool mal_cfi_rules_at(const struct mal_unwind_image *image, const struct mal_cfi_entry *entry,
                      uintptr_t pc, struct mal_cfi_rules *ret_rules) {
    struct machine m;
    memset(&m, 0, sizeof m);
    m.entry = entry;
    m.hdr = image->hdr;
    m.pc = pc;
    m.now.cfa.kind = MAL_CFI_LOST;
    m.code = entry->cie_code;
    if (!run(&m))
        return false;
    m.initial = m.now;
    m.location = entry->start;
    m.code = entry->fde_code;
    if (!run(&m))
        return false;
    *ret_rules = m.now;
    return true;
}
