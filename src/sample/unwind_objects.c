/* SPDX-License-Identifier: Apache-2.0
 *
 * Which object a pc is in, and which code that is.
 *
 * Why rows cannot be stale. Objects come and go, and a new one may be mapped where an old one was.
 * But an entry of the caches says nothing about an address: it speaks of an offset in an object,
 * and the object is identified on every walk that meets it, by a fingerprint of its size, of the
 * start of its unwind table and of its build-id. Code that is replaced by other code gets another
 * number and misses; a plugin that is closed and opened again elsewhere hits. What remains is a
 * rebuilt object without a build-id whose table starts alike, and two in 2^64 fingerprints that
 * collide; the price is a wrong frame in a profile, not a crash, since loads do not depend on rows
 * being right. Within a walk an object cannot go away: a frame of this thread runs in it.
 * Identification costs a call of _dl_find_object per object and walk, not per frame, and some
 * twenty cache lines that are cold by the next sample. So three objects that never go away are
 * identified once: the program, the one that this code is in, and the C library, to which this code
 * is bound. Only 4095 fingerprints are kept, for good; what comes later has no number.
 *
 * SYNCHRONIZATION
 *  1. An object's number is the index of its fingerprint, put there by compare-and-swap from 0.
 *  2. `lasting` is written once, by the thread that took `lasting_state` from UNKNOWN to BUSY, and
 *     read when READY is seen (acquire). Nobody waits: until then objects are identified each time.
 *
 * Must never take a lock of ours or allocate.
 */
#include "sample/unwind_objects.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/atomic.h"
#include "os/unwind_arch.h"
#include "sample/unwind.h"

enum {
    OBJECT_COUNT = 1 << 12,
    PROBE_MAX = 32, /* places of `objects` looked at before giving up */
};

enum lasting_state { LASTING_UNKNOWN, LASTING_BUSY, LASTING_READY };

static uint64_t objects[OBJECT_COUNT];      /* rule 1; number 0 is "no number" and stays unused */
static struct mal_unwind_object lasting[3]; /* rule 2 */
static uint32_t lasting_state;              /* rule 2 */

static uint64_t absorb_bytes(uint64_t print, const void *bytes, size_t count) {
    for (size_t i = 0; i + 8 <= count; i += 8) {
        uint64_t word;
        memcpy(&word, (const char *)bytes + i, 8);
        print = mal_unwind_absorb(print, word);
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

static uint64_t fingerprint(const struct mal_unwind_object *object) {
    enum { TABLE_START_BYTES = 24 };
    uint64_t print = mal_unwind_absorb(object->bytes, object->hdr - object->lo);
    if (object->hdr - object->lo <= object->bytes - TABLE_START_BYTES)
        print = absorb_bytes(print, (const void *)object->hdr, TABLE_START_BYTES);
    print = mal_mix(absorb_build_id(print, object->lo));
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

bool mal_unwind_object_find(uintptr_t pc, struct mal_unwind_object *ret_object) {
    struct dl_find_object found;
    mal_add_relaxed(&mal_unwind_stats.identified, 1);
    if (_dl_find_object((void *)pc, &found) != 0)
        return false;
    struct mal_unwind_object object = {.lo = (uintptr_t)found.dlfo_map_start,
                                       .bytes = (uintptr_t)found.dlfo_map_end -
                                                (uintptr_t)found.dlfo_map_start,
                                       .hdr = (uintptr_t)found.dlfo_eh_frame};
    if (object.hdr == 0 || object.bytes < MAL_UNWIND_PAGE_BYTES ||
        object.bytes >> MAL_UNWIND_OFFSET_BITS)
        return false;
    object.key = number_of(fingerprint(&object)) << MAL_UNWIND_OFFSET_BITS;
    *ret_object = object;
    return true;
}

/* Once per process. Rule 2. */
static MAL_SLOW void find_lasting(void) {
    const uintptr_t inside[] = {(uintptr_t)mal_unwind_capture, getauxval(AT_ENTRY),
                                (uintptr_t)gettid};
    uint32_t empty = LASTING_UNKNOWN;
    if (!mal_cas_acquire(&lasting_state, &empty, LASTING_BUSY))
        return;
    for (size_t i = 0; i < MAL_COUNT_OF(lasting); i++)
        if (!mal_unwind_object_find(inside[i], &lasting[i]))
            lasting[i] = (struct mal_unwind_object){0};
    mal_store_release(&lasting_state, LASTING_READY);
}

const struct mal_unwind_object *mal_unwind_lasting_at(uintptr_t pc) {
    bool is_known = mal_load_acquire(&lasting_state) == LASTING_READY;
    for (size_t i = 0; is_known && i < MAL_COUNT_OF(lasting); i++)
        if (mal_unwind_object_covers(&lasting[i], pc))
            return &lasting[i];
    return NULL;
}

const struct mal_unwind_object *mal_unwind_lasting_find(uintptr_t pc) {
    if (MAL_UNLIKELY(mal_load_acquire(&lasting_state) != LASTING_READY))
        find_lasting();
    return mal_unwind_lasting_at(pc);
}
