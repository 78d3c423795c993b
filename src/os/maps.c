/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking an address up in /proc/self/maps, by ioctl where the kernel has it (PROCMAP_QUERY), else
 * by reading lines; and finding populated pages in /proc/self/pagemap.
 *
 * SYNCHRONIZATION. None: no state.
 *
 * Raw system calls only: callers have threads stopped that may hold any lock of libc's.
 */
#include "os/maps.h"

#include "base/bits.h"
#include "os/confined.h"
#include "os/kernel.h"
#include "os/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As in linux/fs.h of 6.11; older headers lack it. */
struct procmap_query {
    uint64_t size;
    uint64_t query_flags;
    uint64_t query_address;
    uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
    uint32_t device_major, device_minor;
    uint32_t name_bytes, build_id_bytes;
    uint64_t name_address, build_id_address;
};
#define QUERY_REQUEST _IOWR('f', 17, struct procmap_query)
#define QUERY_READABLE 0x01u

struct mapping {
    uintptr_t low, high;
    bool readable;
};

/* 1 found, 0 there is none, -1 the kernel cannot say. */
static int ask_kernel(int fd, uintptr_t address, struct mapping *ret_mapping) {
    struct procmap_query query = {.size = sizeof query, .query_address = address};
    long error = mal_syscall(SYS_ioctl, fd, QUERY_REQUEST, &query);
    if (error != 0)
        return error == -ENOENT ? 0 : -1;
    *ret_mapping = (struct mapping){(uintptr_t)query.vma_start, (uintptr_t)query.vma_end,
                                    query.vma_flags & QUERY_READABLE};
    return 1;
}

static uintptr_t parse_hex(const char **text) {
    uintptr_t value = 0;
    for (;; (*text)++) {
        char c = **text;
        if (c >= '0' && c <= '9')
            value = value << 4 | (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uintptr_t)(c - 'a' + 10);
        else
            return value;
    }
}

static struct mapping parse_line(const char *line) {
    struct mapping mapping = {0};
    mapping.low = parse_hex(&line);
    line += *line == '-';
    mapping.high = parse_hex(&line);
    mapping.readable = line[0] == ' ' && line[1] == 'r';
    return mapping;
}

#define LINES_BYTES 8192

/* True when one of the whole lines in the text holds the address; else *ret_rest is how many bytes
 * at the end belong to a line that goes on. */
static bool search_lines(char *text, size_t bytes, uintptr_t address, struct mapping *ret_mapping,
                         size_t *ret_rest) {
    char *line = text;
    for (char *end; (end = memchr(line, '\n', bytes - (size_t)(line - text))); line = end + 1) {
        *ret_mapping = parse_line(line);
        if (address >= ret_mapping->low && address < ret_mapping->high)
            return true;
    }
    *ret_rest = bytes - (size_t)(line - text);
    memmove(text, line, *ret_rest);
    return false;
}

static bool search_file(int fd, uintptr_t address, struct mapping *ret_mapping) {
    char text[LINES_BYTES];
    size_t rest = 0;
    for (;;) {
        long got = mal_syscall(SYS_read, fd, text + rest, sizeof text - rest);
        if (got <= 0)
            return false;
        if (search_lines(text, rest + (size_t)got, address, ret_mapping, &rest))
            return true;
        if (rest == sizeof text) /* a line longer than any path */
            return false;
    }
}

static bool look_up(int fd, uintptr_t address, struct mapping *ret_mapping) {
    int answer = ask_kernel(fd, address, ret_mapping);
    return answer > 0 || (answer < 0 && search_file(fd, address, ret_mapping));
}

bool mal_mapping_of(uintptr_t address, uintptr_t *ret_low, uintptr_t *ret_high) {
    struct mapping mapping = {0};
    int fd = mal_is_confined() ? -EPERM : mal_file_open("/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    bool found = fd >= 0 && look_up(fd, address, &mapping) && mapping.readable;
    if (fd >= 0)
        mal_file_close(fd);
    *ret_low = mapping.low;
    *ret_high = mapping.high;
    return found;
}

#define ENTRIES 512u
#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_SWAPPED (1ull << 62)

/* Whether page i of those read counts: all do when the kernel did not say. */
static bool is_populated(const uint64_t *entries, long got, size_t i) {
    return got < (long)((i + 1) * sizeof *entries) ||
           (entries[i] & (ENTRY_PRESENT | ENTRY_SWAPPED)) != 0;
}

void mal_mapping_each_populated(uintptr_t low, uintptr_t high,
                                void (*visit)(uintptr_t low, uintptr_t high, void *context),
                                void *context) {
    uint64_t entries[ENTRIES];
    size_t page_bytes = mal_vm_page_bytes();
    int fd = mal_file_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    for (uintptr_t at = low & ~(page_bytes - 1); at < high; at += ENTRIES * page_bytes) {
        long got = fd < 0 ? 0
                          : mal_syscall(SYS_pread64, fd, entries, sizeof entries,
                                        (off_t)(at / page_bytes * sizeof *entries));
        for (size_t i = 0; i < ENTRIES && at + i * page_bytes < high; i++) {
            uintptr_t page = at + i * page_bytes;
            if (is_populated(entries, got, i))
                visit(mal_max(page, low), mal_min(page + page_bytes, high), context);
        }
    }
    if (fd >= 0)
        mal_file_close(fd);
}
