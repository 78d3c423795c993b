/* SPDX-License-Identifier: Apache-2.0
 *
 * The stack walker.
 *
 * A walk starts from the registers of mal_unwind_capture itself and goes from frame to frame by
 * rows (unwind_cfi.h). Reading the unwind tables for a row costs about a microsecond and a sampled
 * program comes back to the same places, so rows are kept:
 *
 *     pc -> object             those that cannot be unloaded, and `seen`, a few address ranges
 * known to this walk; else _dl_find_object, and the object gets a number by what it contains
 * (unwind_objects.c) (object, offset) -> row  unwind_rows.c
 *
 * Before all that, `paths`: where an earlier walk went the same way, it left the rows (paths.h).
 * Only pcs in lasting objects, and rows without flags, are put there; so a whole stack may have a
 * number, which says the same as its pcs.
 *
 * Down, frame by frame: look the pc up (a return address less one, so that a call at the end of a
 * function is still that function's; the pc itself where a signal interrupted it); compute the
 * CFA; load the return address and the frame pointer; store. Only sp, the frame pointer and, where
 * there is one, the link register are followed; a row that asks for another register starts the
 * walk over with all of them. A frame without a row is a signal trampoline, known by its code, or
 * is passed by its frame pointer; if that does not look right the walk ends.
 *
 * Only words that unwind_stack.c allows are loaded, whatever a row says, and sp must rise from
 * frame to frame. Only a signal frame may lead from one stack to another, STACK_SWITCHES_MAX times.
 *
 * SYNCHRONIZATION: a walk's state lies on its own stack; what walks share has its rules in the
 * files named above.
 *
 * This must never take a lock, call malloc, change errno, follow a pointer that the rules above do
 * not allow, or go around in circles.
 */
#include "sample/unwind.h"

#include <stdbool.h>
#include <sys/auxv.h>

#include "base/atomic.h"
#include "base/attr.h"
#include "base/check.h"
#include "os/unwind_arch.h"
#include "sample/paths.h"
#include "sample/unwind_cfi.h"
#include "sample/unwind_objects.h"
#include "sample/unwind_rows.h"
#include "sample/unwind_stack.h"

enum {
    SEEN_MAX = 6,
    STEPS_MAX = 4 * MAL_UNWIND_DEPTH_MAX,
    STACK_SWITCHES_MAX = 8,
    PC_MIN = 4096,
};

struct mal_unwind_stats mal_unwind_stats;

static uint32_t is_allowed; /* relaxed atomic; once set it stays */

/* reg[MAL_UNWIND_RA] is the pc. */
struct frame {
    uintptr_t reg[MAL_UNWIND_REG_COUNT];
    bool is_exact; /* the pc is where the frame is, not where it goes on after a call */
};

enum outcome { WALK_ON, WALK_DONE, WALK_NEEDS_ALL };

struct walk {
    struct mal_unwind_object here; /* of the last pc */
    struct mal_unwind_stack stack;
    struct mal_unwind_object seen[SEEN_MAX];
    unsigned seen_count;
    unsigned switches;
    uint32_t path;                 /* MAL_PATH_NONE once the walk has left the paths */
    uint64_t objects;              /* hash of what was identified; the same pcs give the same */
    struct mal_unwind_row scratch; /* of a pc that found no place in the cache */
};

/* ---- rows ---- */

/* Makes `here` the object of `pc`. */
static bool enter_object(struct walk *w, uintptr_t pc) {
    const struct mal_unwind_object *lasting = mal_unwind_lasting_find(pc);
    if (lasting) {
        w->here = *lasting;
        return true;
    }
    unsigned known = w->seen_count < SEEN_MAX ? w->seen_count : SEEN_MAX;
    for (unsigned i = 0; i < known; i++) {
        if (mal_unwind_object_covers(&w->seen[i], pc)) {
            w->here = w->seen[i];
            return true;
        }
    }
    if (!mal_unwind_object_find(pc, &w->here)) {
        w->here = (struct mal_unwind_object){0};
        return false;
    }
    w->seen[w->seen_count++ % SEEN_MAX] = w->here;
    w->objects = mal_unwind_absorb(mal_unwind_absorb(w->objects, w->here.lo), w->here.key);
    return true;
}

static MAL_SLOW const struct mal_unwind_row *row_elsewhere(struct walk *w, uintptr_t pc) {
    static const struct mal_unwind_row unknown = {.flags = MAL_UNWIND_ROW_NO_CFI};
    return enter_object(w, pc) ? mal_unwind_row_at(&w->here, pc, &w->scratch) : &unknown;
}

MAL_FAST const struct mal_unwind_row *row_of(struct walk *w, uintptr_t pc) {
    return MAL_LIKELY(mal_unwind_object_covers(&w->here, pc))
               ? mal_unwind_row_at(&w->here, pc, &w->scratch)
               : row_elsewhere(w, pc);
}

/* What a path may consist of: pcs that mean the same for good, and rows that go on without looking
 * at anything but sp and the frame pointer, or not at all. */
static bool may_be_in_path(uintptr_t pc, const struct mal_unwind_row *row) {
    return (row->flags == 0 || row->flags == MAL_UNWIND_ROW_END) && mal_unwind_lasting_at(pc);
}

static MAL_SLOW const struct mal_unwind_row *row_off_path(struct walk *w, uintptr_t pc) {
    const struct mal_unwind_row *row = row_of(w, pc);
    w->path = may_be_in_path(pc, row) ? mal_path_extend(w->path, pc, row) : MAL_PATH_NONE;
    return row;
}

MAL_FAST const struct mal_unwind_row *next_row(struct walk *w, const struct frame *f) {
    uintptr_t pc = f->reg[MAL_UNWIND_RA] - !f->is_exact;
    if (w->path == MAL_PATH_NONE)
        return row_of(w, pc);
    uint32_t path = mal_path_find(w->path, pc);
    if (MAL_UNLIKELY(path == MAL_PATH_NONE))
        return row_off_path(w, pc);
    w->path = path;
    return &mal_paths[path].row;
}

/* ---- steps ---- */

/* sp rises, except that a function which has pushed nothing yet may have its caller's. */
MAL_FAST bool is_rising(const struct frame *f, uintptr_t cfa) {
    return cfa > f->reg[MAL_UNWIND_SP] || (f->is_exact && cfa == f->reg[MAL_UNWIND_SP]);
}

/* To the caller, by a row without flags. Registers from `tracked` on are not followed. */
MAL_FAST bool step_plain(struct mal_unwind_stack *stack, const struct mal_unwind_row *row,
                         struct frame *f, unsigned tracked) {
    uintptr_t sp = f->reg[MAL_UNWIND_SP];
    uintptr_t bp = f->reg[MAL_UNWIND_BP];
    uintptr_t cfa =
        (row->cfa_reg == MAL_UNWIND_SP ? sp : bp) + (uintptr_t)(intptr_t)row->cfa_offset;
    if (!is_rising(f, cfa))
        return false;
    for (unsigned r = 0; r < tracked; r++) {
        uintptr_t at = cfa + 8 * (uintptr_t)(intptr_t)row->saved[r];
        if (row->saved[r] != MAL_UNWIND_SAME && !mal_unwind_stack_load(stack, at, &f->reg[r]))
            return false;
    }
    uintptr_t pc = f->reg[MAL_UNWIND_LR];
    if (!MAL_UNWIND_HAS_LR &&
        !mal_unwind_stack_load(stack, cfa + 8 * (uintptr_t)(intptr_t)row->saved[MAL_UNWIND_RA],
                               &pc))
        return false;
    f->reg[MAL_UNWIND_RA] = mal_unwind_arch_strip(pc);
    f->reg[MAL_UNWIND_SP] = cfa;
    f->is_exact = false;
    return true;
}

/* One register of the caller; `f` still holds the callee's. */
static bool recover(struct mal_unwind_stack *stack, const struct mal_unwind_row *row,
                    const struct frame *f, uintptr_t cfa, unsigned r, uintptr_t *ret_value) {
    uintptr_t base = row->base_mask >> r & 1 ? f->reg[row->base_reg] : cfa;
    *ret_value = row->saved[r] == MAL_UNWIND_SAME ? f->reg[r] : 0;
    if (row->saved[r] == MAL_UNWIND_SAME || row->saved[r] == MAL_UNWIND_LOST)
        return true;
    return mal_unwind_stack_load(stack, base + 8 * (uintptr_t)(intptr_t)row->saved[r], ret_value);
}

/* To the stack that a signal interrupted. Just before a function returns, its registers are back
 * but its row may still say that they are saved, now below sp. */
static bool move_stack(struct walk *w, uintptr_t sp) {
    return w->switches++ < STACK_SWITCHES_MAX &&
           (mal_unwind_stack_at(sp - MAL_UNWIND_RED_ZONE_BYTES, &w->stack) ||
            mal_unwind_stack_at(sp, &w->stack));
}

/* To the caller, by any row that names one. */
static bool step_any(struct walk *w, const struct mal_unwind_row *row, struct frame *f) {
    bool is_signal = row->flags & MAL_UNWIND_ROW_SIGNAL;
    uintptr_t cfa = f->reg[row->cfa_reg] + (uintptr_t)(intptr_t)row->cfa_offset;
    if ((row->flags & MAL_UNWIND_ROW_DEREF) && !mal_unwind_stack_load(&w->stack, cfa, &cfa))
        return false;
    if (!is_signal && !is_rising(f, cfa))
        return false;
    struct frame caller = {.is_exact = is_signal};
    for (unsigned r = 0; r < MAL_UNWIND_SP; r++) {
        if (!recover(&w->stack, row, f, cfa, r, &caller.reg[r]))
            return false;
    }
    if (MAL_UNWIND_HAS_LR && row->saved[MAL_UNWIND_RA] == MAL_UNWIND_SAME)
        caller.reg[MAL_UNWIND_RA] = mal_unwind_arch_strip(caller.reg[MAL_UNWIND_LR]);
    caller.reg[MAL_UNWIND_SP] = cfa;
    *f = caller;
    return !is_signal || move_stack(w, cfa);
}

/* Whether the frame is the trampoline into which a signal handler returns: a context without
 * successor on the stack, as the kernel leaves it, and the trampoline's code at the pc. */
static bool is_sigreturn(struct walk *w, const struct frame *f) {
    uintptr_t link;
    uintptr_t link_at =
        f->reg[MAL_UNWIND_SP] + MAL_UNWIND_SIGFRAME_UCONTEXT + offsetof(ucontext_t, uc_link);
    uintptr_t pc = f->reg[MAL_UNWIND_RA];
    if (!mal_unwind_stack_load(&w->stack, link_at, &link) || link != 0)
        return false;
    return mal_unwind_arch_readable(pc) && mal_unwind_arch_load(pc) == MAL_UNWIND_SIGRETURN_CODE;
}

/* By the frame pointer: the caller's frame pointer and the return address lie where it points. */
static bool step_by_fp(struct walk *w, struct frame *f) {
    uintptr_t bp = f->reg[MAL_UNWIND_BP];
    uintptr_t pc;
    uintptr_t caller_bp;
    if (bp % 8 != 0 || bp < f->reg[MAL_UNWIND_SP] ||
        !mal_unwind_stack_load(&w->stack, bp, &caller_bp) ||
        !mal_unwind_stack_load(&w->stack, bp + 8, &pc))
        return false;
    mal_add_relaxed(&mal_unwind_stats.fp_steps, 1);
    f->reg[MAL_UNWIND_BP] = caller_bp;
    f->reg[MAL_UNWIND_RA] = mal_unwind_arch_strip(pc);
    f->reg[MAL_UNWIND_SP] = bp + 16;
    f->is_exact = false;
    return true;
}

/* Interrupted code of an object that has no tables, where calls leave the return address in a
 * register: a PLT stub, or assembler that needs no frame. */
static bool step_by_lr(struct frame *f) {
    f->reg[MAL_UNWIND_RA] = mal_unwind_arch_strip(f->reg[MAL_UNWIND_LR]);
    f->is_exact = false;
    return true;
}

/* Where there is no row: code made at run time, code without tables, or a signal trampoline. */
static bool step_without_row(struct walk *w, struct frame *f) {
    static const struct mal_unwind_row sigframe = {
        .cfa_offset = MAL_UNWIND_SIGFRAME_SP,
        .cfa_reg = MAL_UNWIND_SP,
        .flags = MAL_UNWIND_ROW_DEREF | MAL_UNWIND_ROW_MIXED | MAL_UNWIND_ROW_SIGNAL,
        .base_reg = MAL_UNWIND_SP,
        .base_mask = (1u << MAL_UNWIND_SP) - 1,
        .saved = MAL_UNWIND_SIGFRAME_SAVED,
    };
    if (is_sigreturn(w, f))
        return step_any(w, &sigframe, f);
    bool is_in_object = w->here.bytes != 0;
    return MAL_UNWIND_HAS_LR && f->is_exact && is_in_object ? step_by_lr(f) : step_by_fp(w, f);
}

static MAL_SLOW enum outcome step_odd(struct walk *w, const struct mal_unwind_row *row,
                                      struct frame *f, unsigned tracked) {
    if (row->flags & MAL_UNWIND_ROW_END)
        return WALK_DONE;
    if (row->flags & MAL_UNWIND_ROW_NO_CFI)
        return step_without_row(w, f) ? WALK_ON : WALK_DONE;
    if ((row->flags & MAL_UNWIND_ROW_FULL) && tracked == MAL_UNWIND_FAST_COUNT)
        return WALK_NEEDS_ALL;
    return step_any(w, row, f) ? WALK_ON : WALK_DONE;
}

/* ---- the walk ---- */

struct request {
    uintptr_t *ret_pcs;
    size_t max;
    uintptr_t skip_lo;
    uintptr_t skip_bytes;
};

/* `code` is one word, because it is read at once: a word that was written in parts is read late. */
struct result {
    size_t count;  /* of stored pcs */
    uint64_t code; /* objects:32 | path:32, which is of the whole stack, its last frame included */
};

/* The frame is copied for step_odd so that here it can stay in registers. */
MAL_FAST enum outcome walk(const struct request *q, const struct frame *start, unsigned tracked,
                           struct result *ret_result) {
    struct walk w;
    bool is_whole = false;
    struct frame f = *start;
    size_t count = 0;
    enum outcome outcome =
        mal_unwind_stack_at(f.reg[MAL_UNWIND_SP], &w.stack) ? WALK_ON : WALK_DONE;
    w.here = (struct mal_unwind_object){0};
    w.seen_count = 0;
    w.switches = 0;
    w.path = MAL_PATH_START;
    w.objects = 0;
    for (unsigned i = 0; outcome == WALK_ON && count < q->max && i < STEPS_MAX; i++) {
        const struct mal_unwind_row *row = next_row(&w, &f);
        is_whole = row->flags == MAL_UNWIND_ROW_END;
        if (MAL_LIKELY(row->flags == 0)) {
            outcome = step_plain(&w.stack, row, &f, tracked) ? WALK_ON : WALK_DONE;
        } else {
            struct frame copy = f;
            outcome = step_odd(&w, row, &copy, tracked);
            f = copy;
        }
        uintptr_t pc = f.reg[MAL_UNWIND_RA];
        if (outcome != WALK_ON || pc < PC_MIN)
            break;
        if (count > 0 || pc - q->skip_lo >= q->skip_bytes)
            q->ret_pcs[count++] = pc + f.is_exact;
    }
    if (MAL_UNLIKELY(w.stack.can_grow))
        mal_unwind_stack_try_to_join(&w.stack);
    uint64_t objects = w.objects ^ w.objects >> 32;
    uint32_t path = is_whole ? w.path : MAL_PATH_NONE;
    *ret_result = (struct result){count, objects << 32 | path};
    return outcome;
}

static MAL_SLOW void walk_with_all(const struct request *q, const struct frame *start,
                                   struct result *ret_result) {
    mal_add_relaxed(&mal_unwind_stats.full_walks, 1);
    walk(q, start, MAL_UNWIND_RA, ret_result);
}

/* A static program allocates before its libc has made the table that _dl_find_object reads. Where
 * there is a loader, that has made it before it relocated us. */
static MAL_SLOW bool may_begin(void) {
    if (getauxval(AT_BASE) != 0)
        mal_unwind_allow();
    return mal_load_relaxed(&is_allowed) != 0;
}

void mal_unwind_allow(void) {
    mal_store_relaxed(&is_allowed, 1u);
}

__attribute__((noinline)) size_t mal_unwind_capture(uintptr_t *ret_pcs, size_t max,
                                                    const void *skip_lo, const void *skip_hi,
                                                    struct mal_unwind_code *ret_code) {
    struct frame start = {.is_exact = true};
    if (ret_code)
        *ret_code = (struct mal_unwind_code){MAL_PATH_NONE, 0};
    if (MAL_UNLIKELY(!mal_load_relaxed(&is_allowed)) && !may_begin())
        return 0;
    mal_unwind_arch_here(start.reg);
    MAL_ASSERT(max <= MAL_UNWIND_DEPTH_MAX);
    struct request q = {ret_pcs, max, (uintptr_t)skip_lo, (uintptr_t)skip_hi - (uintptr_t)skip_lo};
    struct result result;
    if (MAL_UNLIKELY(walk(&q, &start, MAL_UNWIND_FAST_COUNT, &result) == WALK_NEEDS_ALL))
        walk_with_all(&q, &start, &result);
    if (ret_code)
        *ret_code = (struct mal_unwind_code){(uint32_t)result.code, (uint32_t)(result.code >> 32)};
    return result.count;
}

void mal_unwind_reset(void) {
    mal_unwind_rows_forget();
    mal_paths_forget();
}
