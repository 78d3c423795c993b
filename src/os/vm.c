/* SPDX-License-Identifier: Apache-2.0
 *
 * mmap, mprotect and madvise, and nothing else.
 *
 * Path up: the page heap grows by mal_vm_map_at next to where it ended, so that the heap stays one
 * mapping; tables are reserved once and committed as the heap grows. Path down: released pages
 * stay mapped, only their memory goes back. Sideways: the memory of large objects moves by its
 * pages, and a place that got its memory so is mapped anew before others use it.
 *
 * The window is where the heap may grow: eight times the machine's memory, so that overcommitting
 * programs fit, but never more than an address-space limit could satisfy. Tables for it are
 * reserved without access rights and cost nothing until committed.
 *
 * Memory goes back by MADV_DONTNEED, or by MADV_FREE where MALLARD_DEBUG=madvdontneed=0 asks for
 * it: cheaper to take into use again, but the resident set falls only when the machine is short.
 *
 * Fault injection counts requests for memory; where it is off it is one relaxed load on a path that
 * ends in a system call. errno is never changed. Mappings are made by libc's functions, which tools
 * that keep books of a process's mappings watch.
 *
 * SYNCHRONIZATION: no lock; counters, settings and what the kernel turned out not to know are
 * relaxed atomics.
 */
#include "os/vm.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "os/confined.h"
#include "os/env.h"
#include "os/kernel.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* The kernel's; younger than some C libraries. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define GIB (1ull << 30)
#define WINDOW_MIN_BYTES (GIB << 8)
#define WINDOW_MAX_BYTES (GIB << 14)

uint64_t mal_vm_map_calls;
uint64_t mal_vm_release_calls;

static uint32_t release_kind;      /* relaxed atomic; enum mal_vm_release */
static uint32_t released_is_dirty; /* relaxed atomic; 1 from the first release WHEN_SHORT on */

static uint32_t cannot_move; /* relaxed atomic; 1 once the kernel did not know how */

static uint64_t fault_countdown; /* relaxed atomic; 0 off, 1 the next request fails */
static uint32_t fault_kind;      /* relaxed atomic; enum mal_vm_fault */

void mal_vm_inject_fault(uint64_t nth, enum mal_vm_fault fault) {
    mal_store_relaxed(&fault_kind, (uint32_t)fault);
    mal_store_relaxed(&fault_countdown, nth);
}

static int fault_due(void) {
    uint64_t countdown = mal_load_relaxed(&fault_countdown);
    if (countdown == 0)
        return 0;
    if (countdown > 1) {
        mal_sub_relaxed(&fault_countdown, 1);
        return 0;
    }
    if (mal_load_relaxed(&fault_kind) == MAL_VM_FAULT_ONCE)
        mal_store_relaxed(&fault_countdown, 0);
    return 1;
}

static void *map_with(void *where, size_t bytes, int protection, int flags) {
    int saved_errno = errno;
    flags |= MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *address = mmap(where, bytes, protection, flags, -1, 0);
    errno = saved_errno;
    return address == MAP_FAILED ? NULL : address;
}

static int protect(void *address, size_t bytes, int protection) {
    return (int)mal_syscall(SYS_mprotect, address, bytes, protection);
}

static int advise(void *address, size_t bytes, int advice) {
    return (int)mal_syscall(SYS_madvise, address, bytes, advice);
}

static void *map(void *hint, size_t bytes, int protection) {
    mal_add_relaxed(&mal_vm_map_calls, 1);
    return fault_due() ? NULL : map_with(hint, bytes, protection, 0);
}

void *mal_vm_map(size_t bytes) {
    return map(NULL, bytes, PROT_READ | PROT_WRITE);
}

int mal_vm_map_at(void *address, size_t bytes) {
    void *got = map(address, bytes, PROT_READ | PROT_WRITE);
    if (got == NULL)
        return -ENOMEM;
    if (got == address)
        return 0;
    mal_vm_unmap(got, bytes);
    return -EEXIST;
}

void *mal_vm_reserve(size_t bytes) {
    return map(NULL, bytes, PROT_NONE);
}

int mal_vm_commit(void *address, size_t bytes) {
    return fault_due() ? -ENOMEM : protect(address, bytes, PROT_READ | PROT_WRITE);
}

void mal_vm_unmap(void *address, size_t bytes) {
    int saved_errno = errno;
    munmap(address, bytes);
    errno = saved_errno;
}

void mal_vm_set_release(enum mal_vm_release release) {
    mal_store_relaxed(&release_kind, (uint32_t)release);
}

bool mal_vm_released_is_zero(void) {
    return mal_load_relaxed(&released_is_dirty) == 0;
}

/* Said to be dirty before any page can be. */
static bool offer_for_when_short(void *address, size_t bytes) {
    mal_store_relaxed(&released_is_dirty, 1u);
    if (advise(address, bytes, MADV_FREE) == 0)
        return true;
    mal_vm_set_release(MAL_VM_RELEASE_AT_ONCE);
    return false;
}

/* The kernel rounds a length up to its own page: what lies behind would be lost. */
int mal_vm_release(void *address, size_t bytes) {
    if ((((uintptr_t)address | bytes) & (mal_vm_page_bytes() - 1)) != 0)
        return -EINVAL;
    mal_add_relaxed(&mal_vm_release_calls, 1);
    bool when_short = mal_load_relaxed(&release_kind) == MAL_VM_RELEASE_WHEN_SHORT;
    if (when_short && offer_for_when_short(address, bytes))
        return 0;
    return advise(address, bytes, MADV_DONTNEED);
}

int mal_vm_forbid(void *address, size_t bytes) {
    int error = mal_vm_release(address, bytes);
    return error != 0 ? error : protect(address, bytes, PROT_NONE);
}

static int map_over(void *address, size_t bytes) {
    return map_with(address, bytes, PROT_READ | PROT_WRITE, MAP_FIXED) ? 0 : -ENOMEM;
}

int mal_vm_renew(void *address, size_t bytes) {
    return fault_due() ? -ENOMEM : map_over(address, bytes);
}

static bool new_memory_is_locked(void) {
    size_t bytes = mal_vm_page_bytes();
    void *page = map_with(NULL, bytes, PROT_READ | PROT_WRITE, 0);
    if (!page)
        return true;
    bool locked = advise(page, bytes, MADV_DONTNEED) != 0;
    mal_vm_unmap(page, bytes);
    return locked;
}

/* What mlock holds is in mappings of its own: others in their place hold nothing. */
int mal_vm_release_locked(void *address, size_t bytes) {
    return new_memory_is_locked() ? -EPERM : mal_vm_renew(address, bytes);
}

/* The kernel refuses a hint about a page that is locked. The hint is older than moving, so where it
 * is not known nothing could be moved either. */
static bool may_be_locked(void *page) {
    return advise(page, mal_vm_page_bytes(), MADV_COLD) != 0;
}

/* What lies before the first gap, if there is one. The advice is what holds for any memory. */
static size_t mapped_bytes(char *start, size_t bytes) {
    size_t low = 0, high = bytes / mal_vm_page_bytes();
    while (low < high) {
        size_t middle = high - (high - low) / 2;
        if (advise(start, middle * mal_vm_page_bytes(), MADV_NORMAL) == 0)
            low = middle;
        else
            high = middle - 1;
    }
    return low * mal_vm_page_bytes();
}

static bool is_zero_page(const char *page) {
    return page[0] == 0 && memcmp(page, page + 1, mal_vm_page_bytes() - 1) == 0;
}

/* What went somewhere is all that is not zero there: the place was empty. */
static void take_back(char *from, const char *to, size_t bytes) {
    for (size_t at = 0; at < bytes; at += mal_vm_page_bytes())
        if (!is_zero_page(to + at))
            memcpy(from + at, to + at, mal_vm_page_bytes());
}

/* The source may turn out to be in several pieces, or not to be plain memory. Since Linux 6.17 its
 * pieces are moved one by one, lowest first, until one is refused: what went goes back. The kernel
 * itself takes away what a piece is moved onto, in the same step, so nobody else can be given the
 * place or the address space meanwhile. Where it cannot do the rest of the step (a limit below what
 * the process has already, or memory that is promised to others), it leaves a gap, and there may be
 * no address space left to fill it with. */
static int move_all_or_nothing(void *from, void *to, size_t bytes) {
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    if (advise(to, bytes, MADV_DONTNEED) != 0)
        return -EPERM;
    long moved = mal_syscall(SYS_mremap, from, bytes, bytes, flags, to);
    if (moved == (long)to)
        return 0;
    int error = (int)moved;
    if (error == -EINVAL)
        mal_store_relaxed(&cannot_move, 1u);
    take_back(from, to, mapped_bytes(to, bytes));
    if (map_over(to, bytes) == 0)
        return error;
    return MAL_VM_PLACE_LOST;
}

/* The kernel unlocks the whole mapping that it moves a part of: what the program locked would no
 * longer be. A mapping that reaches beyond the source holds its first page or its last. */
int mal_vm_move(void *from, void *to, size_t bytes) {
    if (mal_load_relaxed(&cannot_move) || mal_is_confined())
        return -ENOSYS;
    if (fault_due())
        return -ENOMEM;
    char *last_page = (char *)from + bytes - mal_vm_page_bytes();
    bool locked = may_be_locked(from) || may_be_locked(last_page);
    return locked ? -EPERM : move_all_or_nothing(from, to, bytes);
}

int mal_vm_collapse(void *address, size_t bytes) {
    return advise(address, bytes, MADV_COLLAPSE);
}

/* The kernel itself would collapse where the machine's owner says "never". */
bool mal_vm_may_collapse(void) {
    char text[64];
    long got = mal_read_file("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text - 1);
    if (got <= 0 || mal_vm_page_bytes() != MAL_VM_PAGE_BYTES_LEAST)
        return false;
    text[got] = '\0';
    return !strstr(text, "[never]");
}

static uint64_t machine_memory_bytes(void) {
    struct sysinfo info;
    return mal_syscall(SYS_sysinfo, &info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 0;
}

uint64_t mal_vm_address_limit_bytes(void) {
    struct rlimit limit;
    bool known = mal_syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, &limit) == 0;
    return !known || limit.rlim_cur == RLIM_INFINITY ? WINDOW_MAX_BYTES : limit.rlim_cur;
}

size_t mal_vm_window_bytes(void) {
    uint64_t wanted = mal_clamp(8 * machine_memory_bytes(), WINDOW_MIN_BYTES, WINDOW_MAX_BYTES);
    uint64_t possible = mal_max(mal_vm_address_limit_bytes(), GIB / 4);
    return mal_pow2_ceil(mal_min(wanted, possible));
}

#if defined(MAL_SANITIZED)
/* Sanitizers shadow only the ranges where the kernel itself places mappings. */
uintptr_t mal_vm_window_hint(unsigned attempt, uint64_t random) {
    (void)random;
    return 0x7e9000000000ull + ((uintptr_t)attempt << 36);
}
#else
/* Far above any program image, far below stacks and libraries; 2^10 places of 16 GiB each. With a
 * 39-bit address space the kernel refuses the high ones and later attempts try lower. */
uintptr_t mal_vm_window_hint(unsigned attempt, uint64_t random) {
    static const uint8_t base_shift[] = {44, 44, 40, 37, 36};
    unsigned shift = base_shift[mal_min(attempt, sizeof base_shift - 1)];
    return (1ull << shift) + ((random & 1023) << 34 >> (44 - shift));
}
#endif

size_t mal_vm_page_bytes(void) {
    static size_t page_bytes; /* relaxed atomic; every writer stores the same value */
    size_t known = mal_load_relaxed(&page_bytes);
    if (known == 0) {
        known = (size_t)getpagesize();
        mal_store_relaxed(&page_bytes, known);
    }
    return known;
}
