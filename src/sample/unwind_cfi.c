/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading .eh_frame.
 *
 * Down: .eh_frame_hdr holds a table of (function, FDE) sorted by function; a binary search finds
 * the FDE of a pc. The FDE names a CIE, which holds what a group of functions share. Both hold a
 * program for a machine whose state is one rule per register, plus one for the CFA; run up to the
 * pc, first the CIE's and then the FDE's, it leaves the rules in force there. Those are then
 * packed into a row.
 *
 * Registers that calls do not preserve are not followed: nobody needs them to find a return
 * address, except a function interrupted while it realigns its stack.
 *
 * Expressions. A DWARF expression is a small stack program and could ask for anything, but those
 * that compilers and libraries write come to `register + constant` or the word at one. So they are
 * run with symbols in place of values: an item is a constant, register + constant, or the word at
 * register + constant, and an operation that leaves this set makes the result unknown. The pc is
 * known when a row is made, so it counts as a constant, but only its place in a page may be used
 * (PLT stubs look at its low four bits): all else would tie the row to a load address.
 *
 * SYNCHRONIZATION. None: everything is on the caller's stack (about 2 KiB), the tables are
 * read-only, and they stay because a frame of the walk runs in their object.
 *
 * This must never trust a length or an offset it reads. Each entry is bounded by its object's
 * mapping, and since that may have holes the kernel is asked about each of an entry's pages. It
 * must never loop without consuming bytes, and never call malloc.
 */
#include "sample/unwind_cfi.h"

#include <stdbool.h>
#include <string.h>

/* Bounded reading, little endian. After a read past the end `bad` is set and all reads give 0. */
struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

enum rule_kind {
    RULE_SAME,  /* the register is unchanged */
    RULE_CFA,   /* in memory at CFA + offset */
    RULE_REG,   /* in memory at reg + offset; for the CFA: is reg + offset */
    RULE_DEREF, /* for the CFA: is the word at reg + offset */
    RULE_LOST,  /* not to be known; for the CFA also: not set yet */
    RULE_NONE,  /* undefined: for the return address, the end of the stack */
};

struct rule {
    enum rule_kind kind;
    uint8_t reg;
    int64_t offset;
};

struct rules {
    struct rule cfa;
    struct rule saved[MAL_UNWIND_SP];
};

/* Where the pc is in a register its rule is that register's. */
enum { RA_RULE = MAL_UNWIND_HAS_LR ? MAL_UNWIND_LR : MAL_UNWIND_RA };

enum { REMEMBER_MAX = 4, EXPRESSION_DEPTH_MAX = 8, ENTRY_BYTES_MAX = 1 << 18 };

struct machine {
    const struct mal_unwind_image *image;
    struct reader code;
    uintptr_t pc;       /* where to stop */
    uintptr_t location; /* what the rules in force apply to, and upwards */
    uint64_t code_unit;
    uint64_t data_unit; /* signed, kept as its two's complement */
    uint8_t pointer_encoding;
    bool is_signal;
    bool has_augmentation; /* FDEs carry a length of data to skip */
    struct rules now;
    struct rules initial;
    struct rules remembered[REMEMBER_MAX];
    unsigned depth;
};

/* ---- reading ---- */

static uint64_t take(struct reader *r, unsigned bytes) {
    uint64_t value = 0;
    if (r->bad || (size_t)(r->end - r->at) < bytes) {
        r->bad = true;
        return 0;
    }
    memcpy(&value, r->at, bytes);
    r->at += bytes;
    return value;
}

static uint64_t take_signed(struct reader *r, unsigned bytes) {
    unsigned unused_bits = 64 - 8 * bytes;
    return (uint64_t)((int64_t)(take(r, bytes) << unused_bits) >> unused_bits);
}

static uint64_t take_leb(struct reader *r, bool is_signed) {
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        byte = (uint8_t)take(r, 1);
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        shift += 7;
    } while (byte & 0x80);
    if (is_signed && (byte & 0x40) && shift < 64)
        value |= ~0ull << shift;
    return value;
}

static uint64_t take_uleb(struct reader *r) {
    return take_leb(r, false);
}

static uint64_t take_sleb(struct reader *r) {
    return take_leb(r, true);
}

/* The next `bytes` bytes as a reader of their own. */
static struct reader take_block(struct reader *r, uint64_t bytes) {
    struct reader block = {r->at, r->at, true};
    if (r->bad || bytes > (size_t)(r->end - r->at)) {
        r->bad = true;
        return block;
    }
    r->at += bytes;
    block.end = r->at;
    block.bad = false;
    return block;
}

/* The low four bits of an encoding say how a pointer is written. */
static uint64_t take_format(struct reader *r, uint8_t encoding) {
    switch (encoding & 0x0f) {
    case 0x00:
    case 0x04:
    case 0x0c:
        return take(r, 8);
    case 0x01:
        return take_uleb(r);
    case 0x02:
        return take(r, 2);
    case 0x03:
        return take(r, 4);
    case 0x09:
        return take_sleb(r);
    case 0x0a:
        return take_signed(r, 2);
    case 0x0b:
        return take_signed(r, 4);
    default:
        r->bad = true;
        return 0;
    }
}

/* The next three bits say what it is relative to. */
static uintptr_t take_pointer(struct machine *m, struct reader *r, uint8_t encoding) {
    uintptr_t here = (uintptr_t)r->at;
    uint64_t value = take_format(r, encoding);
    switch (encoding & 0x70) {
    case 0x00:
        return value;
    case 0x10:
        return here + value;
    case 0x30:
        return m->image->hdr + value;
    default:
        r->bad = true;
        return 0;
    }
}

static bool readable(const struct mal_unwind_image *image, uintptr_t at, uint64_t bytes) {
    if (at < image->lo || at >= image->hi || bytes > image->hi - at || bytes > ENTRY_BYTES_MAX)
        return false;
    uintptr_t page = at & ~(MAL_UNWIND_PAGE_BYTES - 1);
    for (; page < at + bytes; page += MAL_UNWIND_PAGE_BYTES) {
        if (!mal_unwind_arch_readable(page))
            return false;
    }
    return true;
}

/* ---- entries ---- */

static uint32_t load_u32(uintptr_t at) {
    uint32_t value;
    memcpy(&value, (const void *)at, sizeof value);
    return value;
}

static int32_t table_at(uintptr_t table, uint32_t row, unsigned column) {
    return (int32_t)load_u32(table + 8 * (uintptr_t)row + 4 * column);
}

/* The address of the FDE that starts at or below `pc` and nearest to it, or 0. Only the form that
 * every linker writes is read: a table of pairs of 32-bit offsets from the header. */
static uintptr_t find_fde(const struct mal_unwind_image *image, uintptr_t pc) {
    enum { HEADER_BYTES = 12, FORM = 0x3b03 };
    if (!readable(image, image->hdr, HEADER_BYTES))
        return 0;
    uint32_t form = load_u32(image->hdr);
    uint32_t count = load_u32(image->hdr + 8);
    bool is_pointer_32_bits = (form >> 8 & 0x07) == 0x03;
    uintptr_t table = image->hdr + HEADER_BYTES;
    if ((form & 0xff) != 1 || form >> 16 != FORM || !is_pointer_32_bits || count == 0 ||
        count > (image->hi - table) / 8 || !readable(image, table + 8 * (uintptr_t)(count - 1), 8))
        return 0;
    int64_t wanted = (int64_t)(pc - image->hdr);
    uint32_t low = 0;
    while (count > 1) {
        uint32_t half = count / 2;
        low = table_at(table, low + half, 0) <= wanted ? low + half : low;
        count -= half;
    }
    if (table_at(table, low, 0) > wanted)
        return 0;
    return image->hdr + (uintptr_t)(intptr_t)table_at(table, low, 1);
}

/* The bytes of the CIE or FDE at `at`, its length excluded. */
static bool open_entry(const struct mal_unwind_image *image, uintptr_t at, struct reader *ret) {
    if (!readable(image, at, 4))
        return false;
    uint32_t bytes = load_u32(at);
    if (bytes < 4 || !readable(image, at + 4, bytes))
        return false;
    *ret = (struct reader){(const uint8_t *)at + 4, (const uint8_t *)at + 4 + bytes, false};
    return true;
}

static void take_augmentation(struct machine *m, struct reader *r, const char *letters) {
    struct reader data = take_block(r, take_uleb(r));
    m->has_augmentation = true;
    for (const char *letter = letters + 1; *letter; letter++) {
        switch (*letter) {
        case 'R':
            m->pointer_encoding = (uint8_t)take(&data, 1);
            break;
        case 'L':
            take(&data, 1);
            break;
        case 'P':
            take_format(&data, (uint8_t)take(&data, 1));
            break;
        case 'S':
            m->is_signal = true;
            break;
        default: /* 'B' has no data; after an unknown letter nothing more can be understood */
            if (*letter != 'B')
                return;
        }
    }
}

static bool open_cie(struct machine *m, uintptr_t at) {
    struct reader *r = &m->code;
    if (!open_entry(m->image, at, r) || take(r, 4) != 0)
        return false;
    uint8_t version = (uint8_t)take(r, 1);
    const char *letters = (const char *)r->at;
    while (take(r, 1) != 0)
        continue;
    if (r->bad || (version != 1 && version != 3))
        return false;
    m->code_unit = take_uleb(r);
    m->data_unit = take_sleb(r);
    uint64_t ra = version == 1 ? take(r, 1) : take_uleb(r);
    if (letters[0] == 'z')
        take_augmentation(m, r, letters);
    return !r->bad && mal_unwind_arch_register(ra) == RA_RULE &&
           (letters[0] == 'z' || letters[0] == 0);
}

/* ---- expressions ---- */

enum item_kind { ITEM_CONST, ITEM_PC, ITEM_REG, ITEM_DEREF, ITEM_UNKNOWN };

struct item {
    enum item_kind kind;
    uint8_t reg;
    uint64_t value;
};

struct evaluation {
    struct reader code;
    uintptr_t pc;
    struct item stack[EXPRESSION_DEPTH_MAX];
    unsigned depth;
};

static void push(struct evaluation *e, struct item item) {
    if (e->depth < EXPRESSION_DEPTH_MAX)
        e->stack[e->depth++] = item;
    else
        e->code.bad = true;
}

static struct item pop(struct evaluation *e) {
    if (e->depth > 0)
        return e->stack[--e->depth];
    e->code.bad = true;
    return (struct item){ITEM_UNKNOWN, 0, 0};
}

static void push_const(struct evaluation *e, uint64_t value) {
    push(e, (struct item){ITEM_CONST, 0, value});
}

static void push_register(struct evaluation *e, uint64_t dwarf, uint64_t offset) {
    uint8_t reg = mal_unwind_arch_register(dwarf);
    if (dwarf == MAL_UNWIND_DWARF_PC)
        push(e, (struct item){ITEM_PC, 0, e->pc + offset});
    else
        push(e, (struct item){reg < MAL_UNWIND_REG_COUNT ? ITEM_REG : ITEM_UNKNOWN, reg, offset});
}

static struct item dereference(struct item item) {
    item.kind = item.kind == ITEM_REG ? ITEM_DEREF : ITEM_UNKNOWN;
    return item;
}

static struct item add(struct item a, struct item b) {
    struct item sum = a.kind == ITEM_REG ? a : b;
    struct item other = a.kind == ITEM_REG ? b : a;
    if (other.kind != ITEM_CONST || (sum.kind != ITEM_REG && sum.kind != ITEM_CONST))
        sum.kind = ITEM_UNKNOWN;
    sum.value = a.value + b.value;
    return sum;
}

static struct item mask(struct item a, struct item b) {
    bool is_page_offset = a.kind == ITEM_PC && b.kind == ITEM_CONST && b.value < 4096;
    bool is_known = is_page_offset || (a.kind == ITEM_CONST && b.kind == ITEM_CONST);
    return (struct item){is_known ? ITEM_CONST : ITEM_UNKNOWN, 0, a.value & b.value};
}

static uint64_t compute(uint8_t op, int64_t a, int64_t b) {
    switch (op) {
    case 0x1e:
        return (uint64_t)a * (uint64_t)b;
    case 0x21:
        return (uint64_t)a | (uint64_t)b;
    case 0x24:
        return (uint64_t)b < 64 ? (uint64_t)a << b : 0;
    case 0x25:
        return (uint64_t)b < 64 ? (uint64_t)a >> b : 0;
    case 0x26:
        return (uint64_t)(a >> ((uint64_t)b < 64 ? b : 63));
    case 0x27:
        return (uint64_t)a ^ (uint64_t)b;
    case 0x29:
        return a == b;
    case 0x2a:
        return a >= b;
    case 0x2b:
        return a > b;
    case 0x2c:
        return a <= b;
    case 0x2d:
        return a < b;
    default: /* 0x2e */
        return a != b;
    }
}

/* and, minus, mul, or, plus, the shifts, xor and the comparisons: a op b, b on top. */
static bool step_binary(struct evaluation *e, uint8_t op) {
    bool is_compare = op >= 0x29 && op <= 0x2e;
    bool is_shift = op >= 0x24 && op <= 0x27;
    bool is_other = op == 0x1a || op == 0x1c || op == 0x1e || op == 0x21 || op == 0x22;
    if (!is_compare && !is_shift && !is_other)
        return false;
    struct item b = pop(e);
    struct item a = pop(e);
    if (op == 0x1c && b.kind == ITEM_CONST)
        push(e, add(a, (struct item){ITEM_CONST, 0, -b.value}));
    else if (op == 0x22)
        push(e, add(a, b));
    else if (op == 0x1a)
        push(e, mask(a, b));
    else if (a.kind == ITEM_CONST && b.kind == ITEM_CONST)
        push_const(e, compute(op, (int64_t)a.value, (int64_t)b.value));
    else
        push(e, (struct item){ITEM_UNKNOWN, 0, 0});
    return true;
}

/* const1u .. const8s, constu, consts, lit0 .. lit31. */
static bool step_const(struct evaluation *e, uint8_t op) {
    if (op >= 0x08 && op <= 0x0f) {
        unsigned bytes = 1u << ((op - 0x08) / 2);
        push_const(e, op & 1 ? take_signed(&e->code, bytes) : take(&e->code, bytes));
    } else if (op == 0x10 || op == 0x11) {
        push_const(e, take_leb(&e->code, op == 0x11));
    } else if (op >= 0x30 && op <= 0x4f) {
        push_const(e, op - 0x30u);
    } else {
        return false;
    }
    return true;
}

/* deref, dup, plus_uconst, breg0 .. breg31, bregx, nop. */
static bool step_other(struct evaluation *e, uint8_t op) {
    if (op >= 0x70 && op <= 0x8f) {
        push_register(e, op - 0x70u, take_sleb(&e->code));
        return true;
    }
    switch (op) {
    case 0x06:
        push(e, dereference(pop(e)));
        return true;
    case 0x12: {
        struct item top = pop(e);
        push(e, top);
        push(e, top);
        return true;
    }
    case 0x23:
        push(e, add(pop(e), (struct item){ITEM_CONST, 0, take_uleb(&e->code)}));
        return true;
    case 0x92: {
        uint64_t dwarf = take_uleb(&e->code);
        push_register(e, dwarf, take_sleb(&e->code));
        return true;
    }
    default:
        return op == 0x96;
    }
}

/* The value of an expression; `depth` is 1 where DWARF has the CFA on the stack at the start. */
static struct item evaluate(const struct machine *m, struct reader code, unsigned depth) {
    struct evaluation e = {.code = code, .pc = m->pc, .depth = depth};
    e.stack[0].kind = ITEM_UNKNOWN;
    while (!e.code.bad && e.code.at < e.code.end) {
        uint8_t op = (uint8_t)take(&e.code, 1);
        e.code.bad |= !step_const(&e, op) && !step_binary(&e, op) && !step_other(&e, op);
    }
    struct item result = pop(&e);
    if (e.code.bad)
        result.kind = ITEM_UNKNOWN;
    return result;
}

static struct rule rule_of(struct item item) {
    struct rule rule = {RULE_LOST, item.reg, (int64_t)item.value};
    if (item.kind == ITEM_REG)
        rule.kind = RULE_REG;
    else if (item.kind == ITEM_DEREF)
        rule.kind = RULE_DEREF;
    return rule;
}

/* ---- the machine ---- */

static void set_rule(struct machine *m, uint64_t dwarf, enum rule_kind kind, uint64_t offset) {
    uint8_t reg = mal_unwind_arch_register(dwarf);
    if (reg < MAL_UNWIND_SP)
        m->now.saved[reg] = (struct rule){kind, 0, (int64_t)offset};
}

static void restore_rule(struct machine *m, uint64_t dwarf) {
    uint8_t reg = mal_unwind_arch_register(dwarf);
    if (reg < MAL_UNWIND_SP)
        m->now.saved[reg] = m->initial.saved[reg];
}

static void set_cfa(struct machine *m, uint64_t dwarf, uint64_t offset) {
    uint8_t reg = mal_unwind_arch_register(dwarf);
    enum rule_kind kind = reg < MAL_UNWIND_REG_COUNT ? RULE_REG : RULE_LOST;
    m->now.cfa = (struct rule){kind, reg, (int64_t)offset};
}

/* advance_loc1, 2, 4 and set_loc. */
static bool step_location(struct machine *m, uint8_t op) {
    struct reader *r = &m->code;
    switch (op) {
    case 0x01:
        m->location = take_pointer(m, r, m->pointer_encoding);
        return true;
    case 0x02:
    case 0x03:
    case 0x04:
        m->location += take(r, 1u << (op - 0x02)) * m->code_unit;
        return true;
    default:
        return false;
    }
}

static bool step_cfa(struct machine *m, uint8_t op) {
    struct reader *r = &m->code;
    switch (op) {
    case 0x0c:
    case 0x12: {
        uint64_t dwarf = take_uleb(r);
        set_cfa(m, dwarf, op == 0x0c ? take_uleb(r) : take_sleb(r) * m->data_unit);
        return true;
    }
    case 0x0d: {
        int64_t offset = m->now.cfa.offset;
        set_cfa(m, take_uleb(r), (uint64_t)offset);
        return true;
    }
    case 0x0e:
        m->now.cfa.offset = (int64_t)take_uleb(r);
        return true;
    case 0x13:
        m->now.cfa.offset = (int64_t)(take_sleb(r) * m->data_unit);
        return true;
    case 0x0f:
        m->now.cfa = rule_of(evaluate(m, take_block(r, take_uleb(r)), 0));
        return true;
    default:
        return false;
    }
}

static void set_expression(struct machine *m) {
    uint64_t dwarf = take_uleb(&m->code);
    struct item item = evaluate(m, take_block(&m->code, take_uleb(&m->code)), 1);
    uint8_t reg = mal_unwind_arch_register(dwarf);
    if (reg >= MAL_UNWIND_SP)
        return;
    m->now.saved[reg] = rule_of(item);
    if (item.kind != ITEM_REG)
        m->now.saved[reg].kind = RULE_LOST;
}

/* offset_extended and its kin: a register, then where it is. */
static bool step_register(struct machine *m, uint8_t op) {
    struct reader *r = &m->code;
    if (op == 0x10) {
        set_expression(m);
        return true;
    }
    bool is_offset = op == 0x05 || op == 0x11 || op == 0x2f;
    bool is_lost = op == 0x09 || op == 0x14 || op == 0x15 || op == 0x16;
    if (!is_offset && !is_lost && op != 0x06 && op != 0x07 && op != 0x08)
        return false;
    uint64_t dwarf = take_uleb(r);
    if (op == 0x05)
        set_rule(m, dwarf, RULE_CFA, take_uleb(r) * m->data_unit);
    else if (op == 0x11)
        set_rule(m, dwarf, RULE_CFA, take_sleb(r) * m->data_unit);
    else if (op == 0x2f)
        set_rule(m, dwarf, RULE_CFA, -(take_uleb(r) * m->data_unit));
    else if (op == 0x06)
        restore_rule(m, dwarf);
    else if (op == 0x07)
        set_rule(m, dwarf, RULE_NONE, 0);
    else if (op == 0x08)
        set_rule(m, dwarf, RULE_SAME, 0);
    else { /* held in another register, or a value rather than a place */
        uint64_t operand = take_uleb(r);
        if (op == 0x16)
            take_block(r, operand);
        set_rule(m, dwarf, RULE_LOST, 0);
    }
    return true;
}

/* remember, restore, and what says nothing about registers: nop, the size of pushed arguments,
 * and the toggle of signed return addresses, which the walker strips in any case. */
static bool step_state(struct machine *m, uint8_t op) {
    switch (op) {
    case 0x0a:
        if (m->depth == REMEMBER_MAX)
            return false;
        m->remembered[m->depth++] = m->now;
        return true;
    case 0x0b:
        if (m->depth == 0)
            return false;
        m->now = m->remembered[--m->depth];
        return true;
    case 0x2e:
        take_uleb(&m->code);
        return true;
    default:
        return op == 0x00 || op == 0x2d;
    }
}

/* Runs until the rules no longer apply to m->pc. */
static bool run(struct machine *m) {
    struct reader *r = &m->code;
    while (!r->bad && r->at < r->end && m->location <= m->pc) {
        uint8_t op = (uint8_t)take(r, 1);
        uint8_t low = op & 0x3f;
        switch (op >> 6) {
        case 1:
            m->location += low * m->code_unit;
            break;
        case 2:
            set_rule(m, low, RULE_CFA, take_uleb(r) * m->data_unit);
            break;
        case 3:
            restore_rule(m, low);
            break;
        default:
            r->bad |= !step_location(m, low) && !step_cfa(m, low) && !step_register(m, low) &&
                      !step_state(m, low);
        }
    }
    return !r->bad;
}

/* ---- rows ---- */

static bool is_near(uint8_t reg) {
    return reg == MAL_UNWIND_SP || reg == MAL_UNWIND_BP;
}

/* A row has one base register; rules on a second one are lost. */
static bool pack_base(struct mal_unwind_row *row, unsigned reg, const struct rule *rule) {
    if (row->base_mask != 0 && row->base_reg != rule->reg)
        return false;
    row->base_reg = rule->reg;
    row->base_mask |= (uint16_t)(1u << reg);
    row->flags |= MAL_UNWIND_ROW_MIXED;
    row->flags |= is_near(rule->reg) ? 0 : MAL_UNWIND_ROW_FULL;
    return true;
}

static void pack_rule(struct mal_unwind_row *row, unsigned reg, const struct rule *rule) {
    bool fits = rule->offset % 8 == 0 && rule->offset / 8 > MAL_UNWIND_LOST &&
                rule->offset / 8 <= INT16_MAX;
    row->saved[reg] = MAL_UNWIND_SAME;
    if (rule->kind == RULE_SAME)
        return;
    row->saved[reg] = (int16_t)(rule->offset / 8);
    if (fits && rule->kind == RULE_CFA)
        return;
    if (fits && rule->kind == RULE_REG && pack_base(row, reg, rule))
        return;
    row->saved[reg] = MAL_UNWIND_LOST;
    row->flags |= MAL_UNWIND_ROW_MIXED;
}

/* A signal frame whose pc has no column of its own would lead to the interrupted function's
 * caller; the walker knows such frames by their code instead. */
static bool is_packable(const struct machine *m) {
    const struct rule *cfa = &m->now.cfa;
    enum rule_kind ra = m->now.saved[RA_RULE].kind;
    bool has_cfa = cfa->kind == RULE_REG || cfa->kind == RULE_DEREF;
    bool has_ra = ra != RULE_LOST && (MAL_UNWIND_HAS_LR || ra != RULE_SAME);
    return has_cfa && has_ra && cfa->offset == (int32_t)cfa->offset &&
           !(m->is_signal && MAL_UNWIND_HAS_LR);
}

static bool pack(const struct machine *m, struct mal_unwind_row *row) {
    const struct rule *cfa = &m->now.cfa;
    if (m->now.saved[RA_RULE].kind == RULE_NONE) {
        row->flags = MAL_UNWIND_ROW_END;
        return true;
    }
    if (!is_packable(m))
        return false;
    row->cfa_offset = (int32_t)cfa->offset;
    row->cfa_reg = cfa->reg;
    row->flags |= cfa->kind == RULE_DEREF ? MAL_UNWIND_ROW_DEREF : 0;
    row->flags |= m->is_signal ? MAL_UNWIND_ROW_SIGNAL : 0;
    row->flags |= is_near(cfa->reg) ? 0 : MAL_UNWIND_ROW_FULL;
    for (unsigned reg = 0; reg < MAL_UNWIND_SP; reg++)
        pack_rule(row, reg, &m->now.saved[reg]);
    return true;
}

/* Opens the FDE and its CIE and runs both programs. */
static bool interpret(struct machine *m, uintptr_t fde) {
    struct reader r;
    if (!open_entry(m->image, fde, &r))
        return false;
    uintptr_t cie = (uintptr_t)r.at;
    cie -= take(&r, 4);
    if (!open_cie(m, cie))
        return false;
    uintptr_t start = take_pointer(m, &r, m->pointer_encoding);
    uint64_t bytes = take_format(&r, m->pointer_encoding);
    if (r.bad || m->pc - start >= bytes)
        return false;
    if (m->has_augmentation)
        take_block(&r, take_uleb(&r));
    if (!run(m))
        return false;
    m->initial = m->now;
    m->location = start;
    m->code = r;
    return run(m);
}

void mal_unwind_cfi_row(const struct mal_unwind_image *image, uintptr_t pc,
                        struct mal_unwind_row *ret_row) {
    struct machine m;
    memset(&m, 0, sizeof m);
    m.image = image;
    m.pc = pc;
    m.now.cfa.kind = RULE_LOST;
    memset(ret_row, 0, sizeof *ret_row);
    uintptr_t fde = find_fde(image, pc);
    if (fde && interpret(&m, fde) && pack(&m, ret_row))
        return;
    memset(ret_row, 0, sizeof *ret_row);
    ret_row->flags = MAL_UNWIND_ROW_NO_CFI;
}
