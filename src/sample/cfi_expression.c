/* SPDX-License-Identifier: Apache-2.0
 *
 * DWARF expressions.
 *
 * An expression is a small stack program and could ask for anything, but those that compilers and
 * libraries write come to `register + constant` or the word at one. So they are run with symbols in
 * place of values: an item is a constant, register + constant, or the word at register + constant,
 * and an operation that leaves this set makes the result unknown. The pc is known when a row is
 * made, so it counts as a constant, but only its place in a page may be used (PLT stubs look at its
 * low four bits): all else would tie the row to a load address.
 *
 * SYNCHRONIZATION. None: everything is on the caller's stack.
 *
 * This must never follow a register or load a word, which is the walker's part, and never loop
 * without consuming bytes: branches are among what is not known.
 */
#include "sample/cfi_expression.h"

#include <stdbool.h>
#include <stddef.h>

#include "os/unwind_arch.h"

enum { EXPRESSION_DEPTH_MAX = 8 };

/* DWARF's names. */
enum {
    DW_OP_deref = 0x06,
    DW_OP_const1u = 0x08,
    DW_OP_const8s = 0x0f,
    DW_OP_constu = 0x10,
    DW_OP_consts = 0x11,
    DW_OP_dup = 0x12,
    DW_OP_and = 0x1a,
    DW_OP_minus = 0x1c,
    DW_OP_mul = 0x1e,
    DW_OP_or = 0x21,
    DW_OP_plus = 0x22,
    DW_OP_plus_uconst = 0x23,
    DW_OP_shl = 0x24,
    DW_OP_shr = 0x25,
    DW_OP_shra = 0x26,
    DW_OP_xor = 0x27,
    DW_OP_eq = 0x29,
    DW_OP_ge = 0x2a,
    DW_OP_gt = 0x2b,
    DW_OP_le = 0x2c,
    DW_OP_lt = 0x2d,
    DW_OP_ne = 0x2e,
    DW_OP_lit0 = 0x30,
    DW_OP_lit31 = 0x4f,
    DW_OP_breg0 = 0x70,
    DW_OP_breg31 = 0x8f,
    DW_OP_bregx = 0x92,
    DW_OP_nop = 0x96,
};

struct evaluation {
    struct mal_cfi_bytes code;
    uintptr_t pc;
    struct mal_cfi_value stack[EXPRESSION_DEPTH_MAX];
    unsigned depth;
};

static void push(struct evaluation *e, struct mal_cfi_value item) {
    if (e->depth < EXPRESSION_DEPTH_MAX)
        e->stack[e->depth++] = item;
    else
        e->code.bad = true;
}

static struct mal_cfi_value pop(struct evaluation *e) {
    if (e->depth > 0)
        return e->stack[--e->depth];
    e->code.bad = true;
    return (struct mal_cfi_value){MAL_CFI_VALUE_UNKNOWN, 0, 0};
}

static void push_const(struct evaluation *e, uint64_t value) {
    push(e, (struct mal_cfi_value){MAL_CFI_VALUE_CONST, 0, value});
}

static void push_register(struct evaluation *e, uint64_t dwarf, uint64_t offset) {
    uint8_t reg = mal_unwind_arch_register(dwarf);
    if (dwarf == MAL_UNWIND_DWARF_PC)
        push(e, (struct mal_cfi_value){MAL_CFI_VALUE_PC, 0, e->pc + offset});
    else
        push(e, (struct mal_cfi_value){reg < MAL_UNWIND_REG_COUNT ? MAL_CFI_VALUE_REG
                                                                  : MAL_CFI_VALUE_UNKNOWN,
                                       reg, offset});
}

static struct mal_cfi_value dereference(struct mal_cfi_value item) {
    item.kind = item.kind == MAL_CFI_VALUE_REG ? MAL_CFI_VALUE_DEREF : MAL_CFI_VALUE_UNKNOWN;
    return item;
}

static struct mal_cfi_value add(struct mal_cfi_value a, struct mal_cfi_value b) {
    struct mal_cfi_value sum = a.kind == MAL_CFI_VALUE_REG ? a : b;
    struct mal_cfi_value other = a.kind == MAL_CFI_VALUE_REG ? b : a;
    if (other.kind != MAL_CFI_VALUE_CONST ||
        (sum.kind != MAL_CFI_VALUE_REG && sum.kind != MAL_CFI_VALUE_CONST))
        sum.kind = MAL_CFI_VALUE_UNKNOWN;
    sum.value = a.value + b.value;
    return sum;
}

static struct mal_cfi_value mask(struct mal_cfi_value a, struct mal_cfi_value b) {
    bool is_page_offset =
        a.kind == MAL_CFI_VALUE_PC && b.kind == MAL_CFI_VALUE_CONST && b.value < 4096;
    bool is_known =
        is_page_offset || (a.kind == MAL_CFI_VALUE_CONST && b.kind == MAL_CFI_VALUE_CONST);
    return (struct mal_cfi_value){is_known ? MAL_CFI_VALUE_CONST : MAL_CFI_VALUE_UNKNOWN, 0,
                                  a.value & b.value};
}

static uint64_t compute(uint8_t op, int64_t a, int64_t b) {
    switch (op) {
    case DW_OP_mul:
        return (uint64_t)a * (uint64_t)b;
    case DW_OP_or:
        return (uint64_t)a | (uint64_t)b;
    case DW_OP_shl:
        return (uint64_t)b < 64 ? (uint64_t)a << b : 0;
    case DW_OP_shr:
        return (uint64_t)b < 64 ? (uint64_t)a >> b : 0;
    case DW_OP_shra:
        return (uint64_t)(a >> ((uint64_t)b < 64 ? b : 63));
    case DW_OP_xor:
        return (uint64_t)a ^ (uint64_t)b;
    case DW_OP_eq:
        return a == b;
    case DW_OP_ge:
        return a >= b;
    case DW_OP_gt:
        return a > b;
    case DW_OP_le:
        return a <= b;
    case DW_OP_lt:
        return a < b;
    default: /* DW_OP_ne */
        return a != b;
    }
}

/* and, minus, mul, or, plus, the shifts, xor and the comparisons: a op b, b on top. */
static bool step_binary(struct evaluation *e, uint8_t op) {
    bool is_compare = op >= DW_OP_eq && op <= DW_OP_ne;
    bool is_shift = op >= DW_OP_shl && op <= DW_OP_xor;
    bool is_other = op == DW_OP_and || op == DW_OP_minus || op == DW_OP_mul || op == DW_OP_or ||
                    op == DW_OP_plus;
    if (!is_compare && !is_shift && !is_other)
        return false;
    struct mal_cfi_value b = pop(e);
    struct mal_cfi_value a = pop(e);
    if (op == DW_OP_minus && b.kind == MAL_CFI_VALUE_CONST)
        push(e, add(a, (struct mal_cfi_value){MAL_CFI_VALUE_CONST, 0, -b.value}));
    else if (op == DW_OP_plus)
        push(e, add(a, b));
    else if (op == DW_OP_and)
        push(e, mask(a, b));
    else if (a.kind == MAL_CFI_VALUE_CONST && b.kind == MAL_CFI_VALUE_CONST)
        push_const(e, compute(op, (int64_t)a.value, (int64_t)b.value));
    else
        push(e, (struct mal_cfi_value){MAL_CFI_VALUE_UNKNOWN, 0, 0});
    return true;
}

/* const1u .. const8s, constu, consts, lit0 .. lit31. */
static bool step_const(struct evaluation *e, uint8_t op) {
    if (op >= DW_OP_const1u && op <= DW_OP_const8s) {
        unsigned bytes = 1u << ((op - DW_OP_const1u) / 2);
        push_const(e,
                   op & 1 ? mal_cfi_take_signed(&e->code, bytes) : mal_cfi_take(&e->code, bytes));
    } else if (op == DW_OP_constu || op == DW_OP_consts) {
        push_const(e, mal_cfi_take_leb(&e->code, op == DW_OP_consts));
    } else if (op >= DW_OP_lit0 && op <= DW_OP_lit31) {
        push_const(e, (unsigned)(op - DW_OP_lit0));
    } else {
        return false;
    }
    return true;
}

/* deref, dup, plus_uconst, breg0 .. breg31, bregx, nop. */
static bool step_other(struct evaluation *e, uint8_t op) {
    if (op >= DW_OP_breg0 && op <= DW_OP_breg31) {
        push_register(e, (unsigned)(op - DW_OP_breg0), mal_cfi_take_sleb(&e->code));
        return true;
    }
    switch (op) {
    case DW_OP_deref:
        push(e, dereference(pop(e)));
        return true;
    case DW_OP_dup: {
        struct mal_cfi_value top = pop(e);
        push(e, top);
        push(e, top);
        return true;
    }
    case DW_OP_plus_uconst:
        push(e, add(pop(e),
                    (struct mal_cfi_value){MAL_CFI_VALUE_CONST, 0, mal_cfi_take_uleb(&e->code)}));
        return true;
    case DW_OP_bregx: {
        uint64_t dwarf = mal_cfi_take_uleb(&e->code);
        push_register(e, dwarf, mal_cfi_take_sleb(&e->code));
        return true;
    }
    default:
        return op == DW_OP_nop;
    }
}

struct mal_cfi_value mal_cfi_evaluate(struct mal_cfi_bytes code, uintptr_t pc, unsigned depth) {
    struct evaluation e = {.code = code, .pc = pc, .depth = depth};
    e.stack[0].kind = MAL_CFI_VALUE_UNKNOWN;
    while (!e.code.bad && e.code.at < e.code.end) {
        uint8_t op = (uint8_t)mal_cfi_take(&e.code, 1);
        e.code.bad |= !step_const(&e, op) && !step_binary(&e, op) && !step_other(&e, op);
    }
    struct mal_cfi_value result = pop(&e);
    if (e.code.bad)
        result.kind = MAL_CFI_VALUE_UNKNOWN;
    return result;
}
