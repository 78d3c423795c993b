/* SPDX-License-Identifier: Apache-2.0
 *
 * File descriptors of a guest.
 *
 * The program around us may close descriptors that it does not know (closefrom, daemonizing
 * loops), may count on the next open giving the lowest free number, and may fork children that
 * inherit whatever is open. A descriptor table of our own answers all three: Linux keeps one per
 * set of threads, and close_range with CLOSE_RANGE_UNSHARE makes a new one that never held the
 * program's descriptors at all, so no lock of theirs is dropped and no pipe of theirs is kept
 * open. A child forked by the program's threads has none of ours. The price: `ss -p` and lsof look
 * at the table of the first thread and do not name the process.
 *
 * Where the kernel is older than 5.9 or a filter forbids the call, the table is shared, and the
 * descriptors at least move to high numbers, close on exec.
 *
 * SYNCHRONIZATION  None. Only the server's own thread calls http_fds_make_private, before it opens
 * anything.
 */
#include "http/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CLOSE_RANGE_UNSHARE_FLAG 2u
#define HIGH_FD 512

int http_fds_make_private(void) {
    if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_UNSHARE_FLAG) < 0)
        return -errno;
    return 0;
}

int http_fd_move_high(int fd) {
    struct rlimit limit;
    int floor = HIGH_FD;
    if (fd < 0 || fd >= floor)
        return fd;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 2 * HIGH_FD)
        floor = (int)(limit.rlim_cur / 2);
    int high = fcntl(fd, F_DUPFD_CLOEXEC, floor);
    if (high < 0)
        return fd;
    close(fd);
    return high;
}
