/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the writer's memory comes from.
 *
 * Holds the file's name and how much of each section has memory behind it. Path up: a section grows
 * by steps, each made touchable before the first store. Path down: a finished box's file is
 * unlinked, or all but its header given back where it may not be.
 *
 * A tmpfs may fill up at any time, and a store into a page that cannot be had is a SIGBUS. So no
 * page is touched before madvise(MADV_POPULATE_WRITE) has brought it in or has said that it cannot;
 * a section that cannot grow is a full table, and full tables are counted, not errors. A kernel
 * that does not know that call gets an anonymous box.
 *
 * A program that confined itself by a seccomp filter may do none of all this: its box, if it has
 * one, grows no more and is left as it is. So the file is removed when that can be foreseen.
 *
 * No descriptor stays open: the file is opened, mapped and closed at once.
 *
 * SYNCHRONIZATION
 *   1. Mapping, naming and removing happen under the PROFILE lock, or while there is one
 *      thread.
 *   2. Each section's `ready_bytes` is guarded by the lock that guards appending to that section
 *      (writer.c); the map of spans belongs to the background thread.
 *
 * Must never allocate, never fail the program, never leave a descriptor open.
 */
#include "box/writer.h"

#include "box/writer_private.h"

#include "base/bits.h"
#include "base/format.h"
#include "box/place.h"
#include "os/confined.h"
#include "os/env.h"
#include "os/kernel.h"
#include "os/say.h"
#include "os/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define READY_STEP_BYTES (16u << 10)

static struct {
    uint64_t ready_bytes[MAL_BOX_SECTIONS]; /* from each one's start, may be touched; rule 2 */
    char path[PATH_MAX];                    /* "" for anonymous */
    bool complained;                        /* that no box could be had as it should be */
} room;

static struct mal_box_place place; /* written before a second thread exists */
static bool place_known;           /* likewise, after `place` */

const char *mal_writer_path(void) {
    return room.path;
}

/* Brings pages in for writing, or says why that cannot be. */
static int populate(char *address, uint64_t bytes) {
    if (mal_is_confined())
        return -EPERM;
    int saved_errno = errno;
    size_t into_page =
        (uintptr_t)address & (mal_vm_page_bytes() - 1); /* larger than a box's page */
    int error =
        madvise(address - into_page, bytes + into_page, MADV_POPULATE_WRITE) == 0 ? 0 : -errno;
    errno = saved_errno;
    return error;
}

static bool ensure_in(char *base, enum mal_box_section_id section, uint64_t bytes) {
    if (bytes <= room.ready_bytes[section])
        return true;
    uint64_t limit = MAL_BOX_ROUND(mal_writer_section_bytes[section]);
    uint64_t wanted = mal_min(mal_round_up(bytes, READY_STEP_BYTES), limit);
    if (bytes > limit)
        return false;
    char *start = base + mal_writer_section_offset(section) + room.ready_bytes[section];
    if (populate(start, wanted - room.ready_bytes[section]) != 0)
        return false;
    room.ready_bytes[section] = wanted;
    return true;
}

bool mal_writer_ensure(enum mal_box_section_id section, uint64_t bytes) {
    return ensure_in(mal_writer_box.base, section, bytes);
}

/* What every box needs from its first moment. */
static int populate_basics(char *base) {
    memset(room.ready_bytes, 0, sizeof room.ready_bytes);
    int error = populate(base, MAL_BOX_PAGE_BYTES);
    if (error)
        return error;
    bool complete = ensure_in(base, MAL_BOX_STATS, sizeof(struct mal_box_stats)) &&
                    ensure_in(base, MAL_BOX_MAILBOX, sizeof(struct mal_box_mailbox)) &&
                    ensure_in(base, MAL_BOX_MODULES, 1) && ensure_in(base, MAL_BOX_STRINGS, 1) &&
                    ensure_in(base, MAL_BOX_STACKS, 1) && ensure_in(base, MAL_BOX_BUCKETS, 1) &&
                    ensure_in(base, MAL_BOX_COUNTS, 1) && ensure_in(base, MAL_BOX_HISTORY, 1) &&
                    ensure_in(base, MAL_BOX_TRACE, 1) && ensure_in(base, MAL_BOX_SPANS, 1);
    return complete ? 0 : -ENOSPC;
}

static char *map_anonymous(void) {
    void *base = mmap(NULL, MAL_BOX_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return base == MAP_FAILED ? NULL : base;
}

/* To grow a file beyond this limit is not only an error but a SIGXFSZ, which ends a program. */
static bool is_beyond_limit(uint64_t bytes) {
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < bytes;
}

/* 0 or a negative error. */
static int map_file(int fd, char **ret_base) {
    int error = is_beyond_limit(MAL_BOX_BYTES)
                    ? -EFBIG
                    : (int)mal_syscall(SYS_ftruncate, fd, (off_t)MAL_BOX_BYTES);
    if (error != 0)
        return error;
    void *base = mmap(NULL, MAL_BOX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return -errno;
    *ret_base = base;
    return 0;
}

/* A file of that name can only be what an earlier image of this very process left behind an exec:
 * the name holds pid and start time. */
static int create_file(const char *path) {
    int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = mal_file_open(path, flags, 0600);
    if (fd == -EEXIST && mal_file_unlink(path) == 0)
        fd = mal_file_open(path, flags, 0600);
    return fd;
}

void mal_writer_remember_place(void) {
    mal_box_place_read(&place);
    place_known = true;
}

bool mal_writer_knows_place(void) {
    return place_known;
}

/* Every box's name holds the pid and the start time of its process. */
static void name_box(const char *folder, uint64_t start_ticks) {
    mal_format(room.path, sizeof room.path, "%s/%u.%lu.mallard", folder, (unsigned)mal_own_pid(),
               (unsigned long)start_ticks);
}

/* An image that is replaced by exec cannot remove its box; the next image does, box or no box of
 * its own. */
void mal_writer_remove_predecessor(void) {
    char folder[MAL_BOX_FOLDER_BYTES];
    if (mal_box_folder_find(&place, folder, sizeof folder) == 0) {
        name_box(folder, mal_process_start_ticks());
        mal_file_unlink(room.path);
        room.path[0] = '\0';
    }
}

static int give_up(char *base, const char *path, int error) {
    if (base)
        munmap(base, MAL_BOX_BYTES);
    mal_file_unlink(path);
    return error;
}

static int open_file_box(const char *path, char **ret_base) {
    int fd = create_file(path);
    if (fd < 0)
        return fd;
    int error = map_file(fd, ret_base);
    if (error == 0)
        error = populate_basics(*ret_base);
    mal_file_close(fd);
    return error != 0 ? give_up(*ret_base, path, error) : 0;
}

/* Anonymous pages need no leave: whoever touches one gets it. */
static char *open_anonymous_box(void) {
    for (unsigned i = 0; i < MAL_BOX_SECTIONS; i++)
        room.ready_bytes[i] = MAL_BOX_ROUND(mal_writer_section_bytes[i]);
    return map_anonymous();
}

/* The first failure is worth a line, what comes of it at later attempts is not. */
static bool is_first_failure(void) {
    bool first = !room.complained;
    room.complained = true;
    return first;
}

static char *without_file(char *anonymous_base, const char *path, int error) {
    if (!is_first_failure())
        return anonymous_base;
    if (!anonymous_base)
        mal_warn("no memory for a box: nothing is sampled until there is");
    else if (path[0])
        mal_warn("no box at %s (%s): profiles of this process end with it", path,
                 mal_error_text(-error));
    else
        mal_warn("MALLARD_DIR=%s cannot hold boxes: profiles of this process end with it",
                 place.named);
    return anonymous_base;
}

/* Where there is no folder for boxes at all, silence: nobody expected one. */
static char *without_folder(void) {
    char *base = open_anonymous_box();
    return base && !place.named[0] ? base : without_file(base, "", 0);
}

char *mal_writer_map(uint64_t start_ticks) {
    char folder[PATH_MAX - 64];
    char *base = NULL;
    if (mal_is_confined())
        return NULL;
    if (mal_box_folder_make(&place, folder, sizeof folder) != 0)
        return without_folder();
    name_box(folder, start_ticks);
    int error = open_file_box(room.path, &base);
    if (error == 0)
        return base;
    base = without_file(open_anonymous_box(), room.path, error);
    room.path[0] = '\0';
    return base;
}

/* A process that gave up its rights may not remove its file: whoever collects boxes will. All but
 * the header's page goes back to the tmpfs at once. */
static void give_memory_back(void) {
    uint64_t kept = mal_round_up(MAL_BOX_PAGE_BYTES, mal_vm_page_bytes());
    madvise(mal_writer_box.base + kept, MAL_BOX_BYTES - kept, MADV_REMOVE);
}

void mal_writer_remove_file(void) {
    if (!room.path[0] || mal_is_confined())
        return;
    int error = mal_file_unlink(room.path);
    if (error != 0 && error != -ENOENT)
        give_memory_back();
}

void mal_writer_hide(void) {
    if (room.path[0] && mal_file_unlink(room.path) == 0)
        room.path[0] = '\0';
}

void mal_writer_forget_file(void) {
    room.path[0] = '\0';
    room.complained = false;
}
