/* SPDX-License-Identifier: Apache-2.0
 *
 * The stack walker.
 *
 * A walk starts from the registers of mal_unwind_capture itself and goes from frame to frame by
 * rows (unwind_cfi.h). Reading the unwind tables for a row costs about a microsecond and a sampled
 * program comes back to the same places, so rows are kept:
 *
 *     pc -> object     `lasting`, which cannot be unloaded, and `seen`, a few address ranges known
 *                      to this walk; else _dl_find_object, and `objects` gives the object a number
 *                      by what it contains
 *     (object, offset) -> row number     `entries`, 8192 words in sets of eight
 *     row number -> row                  `rows`, at most 4096 different ones
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
 * Why rows cannot be stale. Objects come and go, and a new one may be mapped where an old one was.
 * But an entry says nothing about an address: it speaks of an offset in an object, and the object
 * is identified on every walk that meets it, by a fingerprint of its size, of the start of its
 * unwind table and of its build-id. Code that is replaced by other code gets another number and
 * misses; a plugin that is closed and opened again elsewhere hits. What remains is a rebuilt object
 * without a build-id whose table starts alike, and two in 2^64 fingerprints that collide; the
 * price is a wrong frame in a profile, not a crash, since loads do not depend on rows being right.
 * Within a walk an object cannot go away: a frame of this thread runs in it. Identification costs
 * a call of _dl_find_object per object and walk, not per frame, and some twenty cache lines that
 * are cold by the next sample. So three objects that never go away are identified once: the
 * program, the one that this code is in, and the C library, to which this code is bound. Only 4095
 * fingerprints and 4096 rows are kept, for good; what comes later is looked up in the tables each
 * time.
 *
 * What may be loaded. Only words at or above the sp that the walk started from on this stack (for
 * an interrupted stack: its red zone), below that stack's limit, and sp must rise from frame to
 * frame. The limit of a thread's own stack is the thread's descriptor, which lies at its top; for
 * the first thread it is what the kernel put there. That sp is below the limit does not yet mean
 * that it is on that stack: it is if all pages between the two can be read. The kernel is asked
 * once for each page, upwards from sp (asking below sp could make the stack grow); the lowest page
 * so found is kept per thread, and from there to the limit all belongs to the thread for as long as
 * it lives. On any other stack (signal stacks, coroutines) the limit is the end of sp's page, and
 * each further page is asked for when it is reached, on every walk anew: such stacks can be
 * unmapped at any time, so nothing about them is kept, except that they are not the thread's own.
 * That is one or two system calls for a typical coroutine, and none for a thread's own stack. An
 * own stack that has grown by more than OWN_PROBE_PAGES_MAX since the last walk passes for another
 * one until a walk comes near its known part.
 * Only a signal frame may lead from one stack to another, STACK_SWITCHES_MAX times.
 *
 * SYNCHRONIZATION
 *  1. An entry is one word that holds both its key and its row's number, so it cannot be torn. Any
 *     thread may overwrite any entry at any time (store-release); a reader (load-acquire) sees a
 *     whole entry or another whole entry, and the key in the word it read says whose it is.
 *  2. A row is written once. Its slot goes from EMPTY to BUSY by compare-and-swap, which gives one
 *     thread the right to write it, and to READY by a store-release. Its number is handed out only
 *     after that, through 1, so whoever has the number sees the row. Nobody waits for a BUSY slot:
 *     they use the next one, at the worst a row is held twice. A thread that never comes back to
 *     its BUSY slot costs that slot.
 *  3. An object's number is the index of its fingerprint, put there by compare-and-swap from 0.
 *  4. `lasting` is written once, by the thread that took `lasting_state` from EMPTY to BUSY, and
 *     read when READY is seen (acquire). Nobody waits: until then objects are identified each time.
 *  5. `own` belongs to the thread, but a signal handler may walk in the middle of an update: `lo`
 *     is written before `hi` makes both valid, and then only falls.
 *
 * This must never take a lock, call malloc, change errno, make a system call on a thread's own
 * stack once warm, follow a pointer that the rules above do not allow, or go around in circles.
 */
#include "sample/unwind.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/attr.h"
#include "base/bits.h"
#include "base/check.h"
#include "os/unwind_arch.h"
#include "sample/paths.h"
#include "sample/unwind_cfi.h"

enum {
    ENTRY_BITS = 13,
    ENTRY_COUNT = 1 << ENTRY_BITS,
    SET_ENTRIES = MAL_CACHE_LINE_BYTES / 8,
    ROW_BITS = 12,
    ROW_COUNT = 1 << ROW_BITS,
    OBJECT_COUNT = 1 << 12,
    OFFSET_BITS = 40,
    PROBE_MAX = 32, /* slots of `rows` or `objects` looked at before giving up */
    SEEN_MAX = 6,
    STEPS_MAX = 4 * MAL_UNWIND_DEPTH_MAX,
    STACK_SWITCHES_MAX = 8,
    OWN_PROBE_PAGES_MAX = 256,
    OTHER_STACK_BYTES_MAX = 1 << 24,
    PC_MIN = 4096,
};

enum slot_state { SLOT_EMPTY, SLOT_BUSY, SLOT_READY };

struct row_slot {
    struct mal_unwind_row row; /* rule 2 */
    uint32_t state;
} __attribute__((aligned(32)));

/* object number:12 | offset in the object:40 | row number:12; 0 is an empty entry. Rule 1. */
static MAL_LINE_ALIGNED uint64_t entries[ENTRY_COUNT];
static MAL_LINE_ALIGNED struct row_slot rows[ROW_COUNT];
static uint64_t objects[OBJECT_COUNT]; /* rule 3; number 0 is "no number" and stays unused */

struct mal_unwind_stats mal_unwind_stats;

/* The part of an own stack known to be readable, and a range known not to belong to it. */
struct own_stack {
    uintptr_t lo; /* rule 5 */
    uintptr_t hi; /* 0 until first use */
    uintptr_t other_lo;
    uintptr_t other_hi;
};
static MAL_THREAD struct own_stack own;

/* Words may be loaded from [lo, lo + span]. */
struct stack {
    uintptr_t lo;
    uintptr_t span;
    bool can_grow;
};

/* reg[MAL_UNWIND_RA] is the pc. */
struct frame {
    uintptr_t reg[MAL_UNWIND_REG_COUNT];
    bool is_exact; /* the pc is where the frame is, not where it goes on after a call */
};

/* An address range and the number of its object, in place for an entry's key; 0 is "no number". */
struct range {
    uintptr_t lo;
    uintptr_t bytes;
    uint64_t key;
    uintptr_t hdr;
};

static struct range lasting[3]; /* rule 4 */
static uint32_t lasting_state;  /* rule 4 */

enum outcome { WALK_ON, WALK_DONE, WALK_NEEDS_ALL };

struct walk {
    struct range here; /* of the last pc */
    struct stack stack;
    struct range seen[SEEN_MAX];
    unsigned seen_count;
    unsigned switches;
    uint32_t path;                 /* MAL_PATH_NONE once the walk has left the paths */
    uint64_t objects;              /* hash of what was identified; the same pcs give the same */
    struct mal_unwind_row scratch; /* of a pc that found no place in the cache */
};

/* ---- stacks ---- */

static uintptr_t page_of(uintptr_t address) {
    return address & ~(MAL_UNWIND_PAGE_BYTES - 1);
}

static bool probe(uintptr_t address) {
    mal_add_relaxed(&mal_unwind_stats.probes, 1);
    return mal_unwind_arch_readable(address & ~(uintptr_t)7);
}

/* The auxiliary vector's random bytes lie above every frame of the first thread. */
static void find_own_top(struct own_stack *o) {
    bool is_first = gettid() == getpid();
    uintptr_t top = is_first ? getauxval(AT_RANDOM) : (uintptr_t)pthread_self();
    o->lo = page_of(top);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    o->hi = (top & ~(uintptr_t)7) + 8;
}

/* Extends the known part of the own stack down to sp, if sp is on it. */
static MAL_SLOW bool is_own_slow(struct own_stack *o, uintptr_t sp) {
    if (o->hi == 0)
        find_own_top(o);
    if (sp >= o->lo || sp - o->other_lo < o->other_hi - o->other_lo)
        return sp >= o->lo && sp < o->hi;
    uintptr_t page = page_of(sp);
    for (unsigned i = 0; page < o->lo; i++, page += MAL_UNWIND_PAGE_BYTES) {
        if (i == OWN_PROBE_PAGES_MAX || !probe(page)) {
            o->other_lo = page_of(sp);
            o->other_hi = page;
            return false;
        }
    }
    o->lo = page_of(sp);
    return true;
}

static bool is_own(uintptr_t sp) {
    return sp - own.lo < own.hi - own.lo || is_own_slow(&own, sp);
}

/* The stack that `sp` is on. A garbage sp gives a stack that nothing can be loaded from. */
static bool stack_at(uintptr_t sp, struct stack *ret_stack) {
    uintptr_t lo = sp & ~(uintptr_t)7;
    bool is_on_own = is_own(lo);
    *ret_stack = (struct stack){0};
    if (!is_on_own && (lo < PC_MIN || !probe(lo)))
        return false;
    uintptr_t end = is_on_own ? own.hi : page_of(lo) + MAL_UNWIND_PAGE_BYTES;
    *ret_stack = (struct stack){lo, end - 8 - lo, !is_on_own};
    return true;
}

/* What looked like another stack turns out to reach up to the known part of the own one. */
static void join_own(struct stack *stack) {
    own.lo = page_of(stack->lo);
    stack->span = own.hi - 8 - stack->lo;
    stack->can_grow = false;
}

static MAL_SLOW bool grow(struct stack *stack, uintptr_t address) {
    if (!stack->can_grow || address < stack->lo || address - stack->lo > OTHER_STACK_BYTES_MAX)
        return false;
    while (address - stack->lo > stack->span) {
        uintptr_t end = stack->lo + stack->span + 8;
        if (end >= own.lo && end < own.hi) {
            join_own(stack);
            return address - stack->lo <= stack->span;
        }
        if (!probe(end))
            return false;
        stack->span += MAL_UNWIND_PAGE_BYTES;
    }
    return true;
}

MAL_FAST bool load(struct stack *stack, uintptr_t address, uintptr_t *ret_value) {
    if (MAL_UNLIKELY(address - stack->lo > stack->span) && !grow(stack, address))
        return false;
    *ret_value = mal_unwind_arch_load(address);
    return true;
}

/* After a walk over so much of another stack that it may be the own one, grown a lot: looks whether
 * the known part of the own one begins a little further on. */
static MAL_SLOW void try_to_join(struct stack *stack) {
    uintptr_t reach = (uintptr_t)OWN_PROBE_PAGES_MAX * MAL_UNWIND_PAGE_BYTES;
    if (stack->span >= reach)
        grow(stack, stack->lo + stack->span + reach);
}

/* ---- objects ---- */

static uint64_t absorb(uint64_t print, uint64_t word) {
    return mal_rotate_right((print ^ word) * 0x9e3779b97f4a7c15ull, 29);
}

static uint64_t absorb_bytes(uint64_t print, const void *bytes, size_t count) {
    for (size_t i = 0; i + 8 <= count; i += 8) {
        uint64_t word;
        memcpy(&word, (const char *)bytes + i, 8);
        print = absorb(print, word);
    }
    return print;
}

/* The build-ids among notes, which stand at `offset` of the object's first page. */
static uint64_t absorb_notes(uint64_t print, const char *page, uint64_t offset, uint64_t bytes) {
    if (offset >= MAL_UNWIND_PAGE_BYTES || bytes > MAL_UNWIND_PAGE_BYTES - offset)
        return print;
    while (bytes >= sizeof(ElfW(Nhdr)) + 4) {
        ElfW(Nhdr) note;
        memcpy(&note, page + offset, sizeof note);
        uint64_t name_bytes = mal_round_up(note.n_namesz, 4);
        uint64_t length = sizeof note + name_bytes + mal_round_up(note.n_descsz, 4);
        if (length > bytes)
            break;
        if (note.n_type == NT_GNU_BUILD_ID)
            print = absorb_bytes(print, page + offset + sizeof note + name_bytes, note.n_descsz);
        offset += length;
        bytes -= length;
    }
    return print;
}

/* Build-ids stand in the object's first page, behind the ELF header and the program headers, unless
 * someone moved them. That page is mapped from the file, whatever it holds. */
static uint64_t absorb_build_id(uint64_t print, uintptr_t lo) {
    const ElfW(Ehdr) *elf = (const ElfW(Ehdr) *)lo;
    if (memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 || elf->e_phentsize != sizeof(ElfW(Phdr)) ||
        elf->e_phoff % 8 != 0 || elf->e_phoff > MAL_UNWIND_PAGE_BYTES ||
        elf->e_phnum > (MAL_UNWIND_PAGE_BYTES - elf->e_phoff) / sizeof(ElfW(Phdr)))
        return print;
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)(lo + elf->e_phoff);
    for (unsigned i = 0; i < elf->e_phnum; i++) {
        if (segments[i].p_type == PT_NOTE)
            print =
                absorb_notes(print, (const char *)lo, segments[i].p_offset, segments[i].p_filesz);
    }
    return print;
}

static uint64_t fingerprint(const struct range *range) {
    enum { TABLE_START_BYTES = 24 };
    uint64_t print = absorb(range->bytes, range->hdr - range->lo);
    if (range->hdr - range->lo <= range->bytes - TABLE_START_BYTES)
        print = absorb_bytes(print, (const void *)range->hdr, TABLE_START_BYTES);
    print = mal_mix(absorb_build_id(print, range->lo));
    return print ? print : 1;
}

/* The number that goes with a fingerprint, or 0 when there is no more room. */
static uint64_t number_of(uint64_t print) {
    for (size_t i = 0; i < PROBE_MAX; i++) {
        size_t at = (print + i) % OBJECT_COUNT;
        uint64_t found = mal_load_relaxed(&objects[at]);
        if (at == 0)
            continue;
        if (found == print || (found == 0 && mal_cas_relaxed(&objects[at], &found, print)) ||
            found == print)
            return at;
    }
    return 0;
}

/* The object around `pc`; false when there is none with unwind tables. */
static bool find_range(uintptr_t pc, struct range *ret_range) {
    struct dl_find_object found;
    mal_add_relaxed(&mal_unwind_stats.identified, 1);
    if (_dl_find_object((void *)pc, &found) != 0)
        return false;
    struct range range = {.lo = (uintptr_t)found.dlfo_map_start,
                          .bytes = (uintptr_t)found.dlfo_map_end - (uintptr_t)found.dlfo_map_start,
                          .hdr = (uintptr_t)found.dlfo_eh_frame};
    if (range.hdr == 0 || range.bytes < MAL_UNWIND_PAGE_BYTES || range.bytes >> OFFSET_BITS)
        return false;
    range.key = number_of(fingerprint(&range)) << OFFSET_BITS;
    *ret_range = range;
    return true;
}

/* Once per process. Rule 4. */
static MAL_SLOW void find_lasting(void) {
    const uintptr_t inside[] = {(uintptr_t)mal_unwind_capture, getauxval(AT_ENTRY),
                                (uintptr_t)gettid};
    uint32_t empty = SLOT_EMPTY;
    if (!mal_cas_acquire(&lasting_state, &empty, SLOT_BUSY))
        return;
    for (size_t i = 0; i < MAL_COUNT_OF(lasting); i++)
        if (!find_range(inside[i], &lasting[i]))
            lasting[i] = (struct range){0};
    mal_store_release(&lasting_state, SLOT_READY);
}

static bool enter_lasting(struct walk *w, uintptr_t pc) {
    if (MAL_UNLIKELY(mal_load_acquire(&lasting_state) != SLOT_READY))
        find_lasting();
    bool is_known = mal_load_acquire(&lasting_state) == SLOT_READY;
    for (size_t i = 0; is_known && i < MAL_COUNT_OF(lasting); i++) {
        if (pc - lasting[i].lo < lasting[i].bytes) {
            w->here = lasting[i];
            return true;
        }
    }
    return false;
}

/* Makes `here` the range of `pc`. */
static bool enter_range(struct walk *w, uintptr_t pc) {
    if (enter_lasting(w, pc))
        return true;
    unsigned known = w->seen_count < SEEN_MAX ? w->seen_count : SEEN_MAX;
    for (unsigned i = 0; i < known; i++) {
        if (pc - w->seen[i].lo < w->seen[i].bytes) {
            w->here = w->seen[i];
            return true;
        }
    }
    if (!find_range(pc, &w->here)) {
        w->here = (struct range){0};
        return false;
    }
    w->seen[w->seen_count++ % SEEN_MAX] = w->here;
    w->objects = absorb(absorb(w->objects, w->here.lo), w->here.key);
    return true;
}

/* ---- rows ---- */

static uint64_t hash_row(const struct mal_unwind_row *row) {
    uint64_t hash = 0;
    for (unsigned i = 0; i < MAL_UNWIND_SP; i++)
        hash = absorb(hash, (uint16_t)row->saved[i]);
    hash = absorb(hash, (uint64_t)row->cfa_reg << 32 | (uint32_t)row->cfa_offset);
    return mal_mix(hash ^ row->flags ^ (uint64_t)row->base_mask << 16 ^ row->base_reg);
}

/* Gives the row to the slot, or finds it there. Rule 2. */
static bool slot_holds(struct row_slot *slot, const struct mal_unwind_row *row) {
    uint32_t empty = SLOT_EMPTY;
    if (mal_load_relaxed(&slot->state) == SLOT_EMPTY &&
        mal_cas_acquire(&slot->state, &empty, SLOT_BUSY)) {
        slot->row = *row;
        mal_store_release(&slot->state, SLOT_READY);
        return true;
    }
    /* A failed exchange acquires nothing: what it found may be the other thread's READY. */
    return mal_load_acquire(&slot->state) == SLOT_READY &&
           memcmp(&slot->row, row, sizeof *row) == 0;
}

/* The number of a row like `row`, or ROW_COUNT when there is no more room. */
static size_t intern(const struct mal_unwind_row *row) {
    uint64_t hash = hash_row(row);
    for (size_t i = 0; i < PROBE_MAX; i++) {
        size_t at = (hash + i) % ROW_COUNT;
        if (slot_holds(&rows[at], row))
            return at;
    }
    return ROW_COUNT;
}

MAL_FAST size_t entry_of(uint64_t key) {
    return (key * 0x9e3779b97f4a7c15ull) >> (64 - ENTRY_BITS);
}

/* Into the first empty place of its set, or over whoever is at its first place. Rule 1. */
static void remember(uint64_t key, size_t row) {
    size_t at = entry_of(key);
    size_t place = 0;
    for (size_t i = SET_ENTRIES; i-- > 0;) {
        if (mal_load_relaxed(&entries[at ^ i]) == 0)
            place = i;
    }
    mal_store_release(&entries[at ^ place], key << ROW_BITS | row);
}

static MAL_SLOW const struct mal_unwind_row *read_row(struct walk *w, uintptr_t pc) {
    struct mal_unwind_image image = {w->here.lo, w->here.lo + w->here.bytes, w->here.hdr};
    mal_unwind_cfi_row(&image, pc, &w->scratch);
    mal_add_relaxed(&mal_unwind_stats.misses, 1);
    size_t row = intern(&w->scratch);
    if (row == ROW_COUNT || w->here.key == 0) {
        mal_add_relaxed(&mal_unwind_stats.uncached, 1);
        return &w->scratch;
    }
    remember(w->here.key + (pc - w->here.lo), row);
    return &rows[row].row;
}

MAL_FAST const struct mal_unwind_row *row_here(struct walk *w, uintptr_t pc) {
    uint64_t key = w->here.key + (pc - w->here.lo);
    size_t at = entry_of(key);
    for (size_t i = 0; i < SET_ENTRIES; i++) {
        uint64_t entry = mal_load_acquire(&entries[at ^ i]);
        if (MAL_LIKELY(entry >> ROW_BITS == key))
            return &rows[entry % ROW_COUNT].row;
    }
    return read_row(w, pc);
}

static MAL_SLOW const struct mal_unwind_row *row_elsewhere(struct walk *w, uintptr_t pc) {
    static const struct mal_unwind_row unknown = {.flags = MAL_UNWIND_ROW_NO_CFI};
    return enter_range(w, pc) ? row_here(w, pc) : &unknown;
}

MAL_FAST const struct mal_unwind_row *row_of(struct walk *w, uintptr_t pc) {
    return MAL_LIKELY(pc - w->here.lo < w->here.bytes) ? row_here(w, pc) : row_elsewhere(w, pc);
}

static bool is_lasting(uintptr_t pc) {
    bool is_known = mal_load_acquire(&lasting_state) == SLOT_READY;
    for (size_t i = 0; is_known && i < MAL_COUNT_OF(lasting); i++)
        if (pc - lasting[i].lo < lasting[i].bytes)
            return true;
    return false;
}

/* What a path may consist of: pcs that mean the same for good, and rows that go on without looking
 * at anything but sp and the frame pointer, or not at all. */
static bool may_be_in_path(uintptr_t pc, const struct mal_unwind_row *row) {
    return (row->flags == 0 || row->flags == MAL_UNWIND_ROW_END) && is_lasting(pc);
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
MAL_FAST bool step_plain(struct stack *stack, const struct mal_unwind_row *row, struct frame *f,
                         unsigned tracked) {
    uintptr_t sp = f->reg[MAL_UNWIND_SP];
    uintptr_t bp = f->reg[MAL_UNWIND_BP];
    uintptr_t cfa =
        (row->cfa_reg == MAL_UNWIND_SP ? sp : bp) + (uintptr_t)(intptr_t)row->cfa_offset;
    if (!is_rising(f, cfa))
        return false;
    for (unsigned r = 0; r < tracked; r++) {
        uintptr_t at = cfa + 8 * (uintptr_t)(intptr_t)row->saved[r];
        if (row->saved[r] != MAL_UNWIND_SAME && !load(stack, at, &f->reg[r]))
            return false;
    }
    uintptr_t pc = f->reg[MAL_UNWIND_LR];
    if (!MAL_UNWIND_HAS_LR &&
        !load(stack, cfa + 8 * (uintptr_t)(intptr_t)row->saved[MAL_UNWIND_RA], &pc))
        return false;
    f->reg[MAL_UNWIND_RA] = mal_unwind_arch_strip(pc);
    f->reg[MAL_UNWIND_SP] = cfa;
    f->is_exact = false;
    return true;
}

/* One register of the caller; `f` still holds the callee's. */
static bool recover(struct stack *stack, const struct mal_unwind_row *row, const struct frame *f,
                    uintptr_t cfa, unsigned r, uintptr_t *ret_value) {
    uintptr_t base = row->base_mask >> r & 1 ? f->reg[row->base_reg] : cfa;
    *ret_value = row->saved[r] == MAL_UNWIND_SAME ? f->reg[r] : 0;
    if (row->saved[r] == MAL_UNWIND_SAME || row->saved[r] == MAL_UNWIND_LOST)
        return true;
    return load(stack, base + 8 * (uintptr_t)(intptr_t)row->saved[r], ret_value);
}

/* To the stack that a signal interrupted. Just before a function returns, its registers are back
 * but its row may still say that they are saved, now below sp. */
static bool move_stack(struct walk *w, uintptr_t sp) {
    return w->switches++ < STACK_SWITCHES_MAX &&
           (stack_at(sp - MAL_UNWIND_RED_ZONE_BYTES, &w->stack) || stack_at(sp, &w->stack));
}

/* To the caller, by any row that names one. */
static bool step_any(struct walk *w, const struct mal_unwind_row *row, struct frame *f) {
    bool is_signal = row->flags & MAL_UNWIND_ROW_SIGNAL;
    uintptr_t cfa = f->reg[row->cfa_reg] + (uintptr_t)(intptr_t)row->cfa_offset;
    if ((row->flags & MAL_UNWIND_ROW_DEREF) && !load(&w->stack, cfa, &cfa))
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
    if (!load(&w->stack, link_at, &link) || link != 0)
        return false;
    return mal_unwind_arch_readable(pc) && mal_unwind_arch_load(pc) == MAL_UNWIND_SIGRETURN_CODE;
}

/* By the frame pointer: the caller's frame pointer and the return address lie where it points. */
static bool step_by_fp(struct walk *w, struct frame *f) {
    uintptr_t bp = f->reg[MAL_UNWIND_BP];
    uintptr_t pc;
    uintptr_t caller_bp;
    if (bp % 8 != 0 || bp < f->reg[MAL_UNWIND_SP] || !load(&w->stack, bp, &caller_bp) ||
        !load(&w->stack, bp + 8, &pc))
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

struct result {
    size_t count;                /* of stored pcs */
    struct mal_unwind_code code; /* the path is of the whole stack, its last frame included */
};

/* The frame is copied for step_odd so that here it can stay in registers. */
MAL_FAST enum outcome walk(const struct request *q, const struct frame *start, unsigned tracked,
                           struct result *ret_result) {
    struct walk w;
    bool is_whole = false;
    struct frame f = *start;
    size_t count = 0;
    enum outcome outcome = stack_at(f.reg[MAL_UNWIND_SP], &w.stack) ? WALK_ON : WALK_DONE;
    w.here = (struct range){0};
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
        try_to_join(&w.stack);
    struct mal_unwind_code code = {is_whole ? w.path : MAL_PATH_NONE,
                                   (uint32_t)(w.objects ^ w.objects >> 32)};
    *ret_result = (struct result){count, code};
    return outcome;
}

static MAL_SLOW void walk_with_all(const struct request *q, const struct frame *start,
                                   struct result *ret_result) {
    mal_add_relaxed(&mal_unwind_stats.full_walks, 1);
    walk(q, start, MAL_UNWIND_RA, ret_result);
}

__attribute__((noinline)) size_t mal_unwind_capture(uintptr_t *ret_pcs, size_t max,
                                                    const void *skip_lo, const void *skip_hi,
                                                    struct mal_unwind_code *ret_code) {
    struct frame start = {.is_exact = true};
    mal_unwind_arch_here(start.reg);
    MAL_ASSERT(max <= MAL_UNWIND_DEPTH_MAX);
    struct request q = {ret_pcs, max, (uintptr_t)skip_lo, (uintptr_t)skip_hi - (uintptr_t)skip_lo};
    struct result result;
    if (MAL_UNLIKELY(walk(&q, &start, MAL_UNWIND_FAST_COUNT, &result) == WALK_NEEDS_ALL))
        walk_with_all(&q, &start, &result);
    if (ret_code)
        *ret_code = result.code;
    return result.count;
}

void mal_unwind_reset(void) {
    for (size_t i = 0; i < ENTRY_COUNT; i++)
        mal_store_relaxed(&entries[i], 0);
    mal_paths_forget();
}
