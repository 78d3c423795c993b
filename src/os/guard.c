/* SPDX-License-Identifier: Apache-2.0
 *
 * Fork detection by MADV_WIPEONFORK (Linux 4.14): one private page that holds 1 here and 0 in a
 * child. Where the page cannot be had, the guard says "not wiped" for ever and only libc's handlers
 * tell of forks.
 *
 * SYNCHRONIZATION. The pointer is set once at init, before a second thread; the word behind it is
 * atomic.
 */
#include "os/guard.h"

#include "base/atomic.h"
#include "os/kernel.h"
#include "os/vm.h"

#include <stdint.h>
#include <sys/mman.h>

static uint32_t *guard; /* set once at init */

static void make(void) {
    size_t bytes = mal_vm_page_bytes();
    uint32_t *page = mal_vm_map(bytes);
    if (page && mal_syscall(SYS_madvise, page, bytes, MADV_WIPEONFORK) != 0) {
        mal_vm_unmap(page, bytes);
        page = NULL;
    }
    guard = page;
}

void mal_guard_arm(void) {
    if (!guard)
        make();
    if (guard)
        mal_store_relaxed(guard, 1u);
}

bool mal_guard_is_wiped(void) {
    return guard && mal_load_relaxed(guard) == 0;
}
