/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding what .eh_frame says of a pc.
 *
 * Down: .eh_frame_hdr holds a table of (function, FDE) sorted by function; a binary search finds
 * the FDE of a pc. The FDE names a CIE, which holds what a group of functions share: the units that
 * offsets are counted in, how pointers are written, whether they are signal frames.
 *
 * SYNCHRONIZATION. None: everything is on the caller's stack, the tables are read-only, and they
 * stay because a frame of the walk runs in their object.
 *
 * This must never trust a length or an offset it reads. Each entry is bounded by its object's
 * mapping, and since that may have holes the kernel is asked about each of an entry's pages. It
 * must never call malloc.
 */
#include "sample/cfi_entry.h"

#include <stddef.h>
#include <string.h>

#include "os/unwind_arch.h"

enum { ENTRY_BYTES_MAX = 1 << 18 };

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
static bool open_bytes(const struct mal_unwind_image *image, uintptr_t at,
                       struct mal_cfi_bytes *ret) {
    if (!readable(image, at, 4))
        return false;
    uint32_t bytes = load_u32(at);
    if (bytes < 4 || !readable(image, at + 4, bytes))
        return false;
    *ret = (struct mal_cfi_bytes){(const uint8_t *)at + 4, (const uint8_t *)at + 4 + bytes, false};
    return true;
}

static void take_augmentation(struct mal_cfi_entry *entry, struct mal_cfi_bytes *r,
                              const char *letters) {
    struct mal_cfi_bytes data = mal_cfi_take_block(r, mal_cfi_take_uleb(r));
    for (const char *letter = letters + 1; *letter; letter++) {
        switch (*letter) {
        case 'R':
            entry->pointer_encoding = (uint8_t)mal_cfi_take(&data, 1);
            break;
        case 'L':
            mal_cfi_take(&data, 1);
            break;
        case 'P':
            mal_cfi_take_format(&data, (uint8_t)mal_cfi_take(&data, 1));
            break;
        case 'S':
            entry->is_signal = true;
            break;
        default: /* 'B' has no data; after an unknown letter nothing more can be understood */
            if (*letter != 'B')
                return;
        }
    }
}

/* Nothing is known of an augmentation that does not start with its length. */
static bool is_known_augmentation(const char *letters) {
    return letters[0] == 'z' || letters[0] == 0;
}

static bool open_cie(const struct mal_unwind_image *image, uintptr_t at,
                     struct mal_cfi_entry *entry) {
    struct mal_cfi_bytes *r = &entry->cie_code;
    if (!open_bytes(image, at, r) || mal_cfi_take(r, 4) != 0)
        return false;
    uint8_t version = (uint8_t)mal_cfi_take(r, 1);
    const char *letters = (const char *)r->at;
    while (mal_cfi_take(r, 1) != 0)
        continue;
    if (r->bad || (version != 1 && version != 3) || !is_known_augmentation(letters))
        return false;
    entry->code_unit = mal_cfi_take_uleb(r);
    entry->data_unit = mal_cfi_take_sleb(r);
    uint64_t ra = version == 1 ? mal_cfi_take(r, 1) : mal_cfi_take_uleb(r);
    entry->has_augmentation = letters[0] == 'z';
    if (entry->has_augmentation)
        take_augmentation(entry, r, letters);
    return !r->bad && mal_unwind_arch_register(ra) == MAL_CFI_RA;
}

static bool open_fde(const struct mal_unwind_image *image, uintptr_t at, uintptr_t pc,
                     struct mal_cfi_entry *entry) {
    struct mal_cfi_bytes *r = &entry->fde_code;
    if (!open_bytes(image, at, r))
        return false;
    uintptr_t cie = (uintptr_t)r->at;
    cie -= mal_cfi_take(r, 4);
    if (!open_cie(image, cie, entry))
        return false;
    entry->start = mal_cfi_take_pointer(r, entry->pointer_encoding, image->hdr);
    uint64_t bytes = mal_cfi_take_format(r, entry->pointer_encoding);
    if (r->bad || pc - entry->start >= bytes)
        return false;
    if (entry->has_augmentation)
        mal_cfi_take_block(r, mal_cfi_take_uleb(r));
    return true;
}

bool mal_cfi_entry_find(const struct mal_unwind_image *image, uintptr_t pc,
                        struct mal_cfi_entry *ret_entry) {
    uintptr_t fde = find_fde(image, pc);
    memset(ret_entry, 0, sizeof *ret_entry);
    return fde && open_fde(image, fde, pc, ret_entry);
}
