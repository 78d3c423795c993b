/* SPDX-License-Identifier: Apache-2.0
 *
 * unshare, setns, capset and prctl: calls that see the threads of their process.
 *
 * The kernel refuses some namespaces to a process of several threads, and gives the others, like
 * capabilities, to the calling thread alone. A program of one thread knows neither case: it gets
 * what it asks for, and what it gave up is gone. Our threads must not change that. So where the
 * program itself has one thread they end before the call, and are started again after it:
 *
 *     MUST_GO    the kernel would refuse the call: user namespaces; for setns those of mounts,
 *                since threads share their root, and of time. Or something would break: a
 *                descriptor that the program closes would stay open; setuid and its kin, which
 *                libc makes in every thread, would have another result in one that has other
 *                capabilities, and libc aborts then
 *     SHOULD_GO  a thread of ours would keep the old namespace, folder or right. A server that the
 *                program was asked to run stays as it is, and with it the rest
 *     GO_FOR_GOOD
 *                as SHOULD_GO, but it will not come back
 *     MAY_STAY   the call is about children, or nothing of the kind; a new thread might even be
 *                refused after it
 *
 * After unshare and setns they come back at once; capset and prctl are called many times in a row,
 * so after those the background thread comes back as in a new process.
 *
 * A thread has ended for the kernel when it is no longer counted in /proc/self/task; that is waited
 * for, at most PATIENCE_NS. Where it cannot be known (no /proc), where the program has other
 * threads, and where the collected heap has some, the call is made as it is. So it is where the
 * program has installed a seccomp filter since our thread began: a new one might be forbidden, and
 * so might be any look at a file. Hence it is our thread who finds all that out.
 *
 * PR_SET_SECCOMP is such a filter: the thread leaves for it, since it would stay outside of the
 * sandbox, and does not come back. There not to know how many threads there are is no reason to
 * stay: sandboxes often have no /proc, and other threads of the program are not confined either.
 * Its box is then read no more by others: it would stay behind, as nobody could remove it in the
 * end. A filter installed by the bare system call is not seen, but PR_SET_NO_NEW_PRIVS, which most
 * need, is. From it on the thread comes back at once, and is started if it was too early for that:
 * later it might be forbidden.
 *
 * SYNCHRONIZATION: the program has no other thread. A signal handler that makes such a call while
 * one is being made finds the state ASKED_TO_LEAVE or LEFT (front/background.c) and does nothing
 * about threads; nor does one that has interrupted malloc in the middle, where our thread may wait
 * for a lock before it can leave, and a new one cannot be had without malloc.
 *
 * Must never change what the call returns, nor errno where it succeeds.
 */
#include "front/alone.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "front/background.h"
#include "front/http.h"
#include "front/init.h"
#include "front/memory.h"
#include "front/options.h"
#include "gc/cycle.h"
#include "os/alias.h"
#include "os/clock.h"
#include "os/confined.h"
#include "os/critical.h"
#include "os/env.h"
#include "os/futex.h"
#include "os/tasks.h"
#include "sample/profile.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define PATIENCE_NS 1000000000u
#define NAP_NS 50000u

int mallard_unshare(int flags);
int mallard_setns(int fd, int type);
int mallard_capset(cap_user_header_t header, const cap_user_data_t data);
int mallard_prctl(int option, ...);
int capset(cap_user_header_t header, const cap_user_data_t data);

enum demand { MAY_STAY, SHOULD_GO, GO_FOR_GOOD, MUST_GO };

static uint32_t filters_may_follow; /* relaxed atomic; once set it stays */

/* Who has to be called back. */
struct absent {
    bool background;
    bool http;
};

static bool program_has_one_thread(enum demand demand) {
    struct mal_background_view view;
    if (!mal_background_look(PATIENCE_NS, &view) || view.has_new_filters)
        return false;
    return view.threads == 2 + mal_http_threads() || (view.threads == 0 && demand == GO_FOR_GOOD);
}

static void wait_until_alone(void) {
    uint64_t until_ns = mal_clock_mono_ns() + PATIENCE_NS;
    while ((!mal_background_has_left() || mal_tasks_count() > 1) &&
           mal_clock_mono_ns() < until_ns) {
        mal_background_wake();
        mal_futex_nap(NAP_NS);
    }
}

static bool may_send_away(enum demand demand) {
    if (demand == MAY_STAY || mal_critical_is_open() || !mal_background_is_settled() ||
        mal_process_is_confined() || !mal_init_is_own_process())
        return false;
    if (demand != MUST_GO && mal_http_threads() > 0)
        return false;
    return mal_gc_threads() == 0 && program_has_one_thread(demand);
}

static struct absent send_all_away(enum demand demand) {
    struct absent absent = {.http = mal_http_pause()};
    if (mal_http_threads() > 0) /* at work: without it the others stay, too */
        return absent;
    absent.background = mal_background_ask_to_leave();
    wait_until_alone();
    if (demand == GO_FOR_GOOD && !(mal_options.flags & MAL_OPTION_KEEP))
        mal_profile_hide();
    return absent;
}

static struct absent send_away(enum demand demand) {
    struct absent absent = {false, false};
    int saved_errno = errno;
    if (may_send_away(demand))
        absent = send_all_away(demand);
    errno = saved_errno;
    return absent;
}

bool mal_alone_at_end(void) {
    send_away(MUST_GO);
    return mal_tasks_count() <= 1;
}

static enum mal_background_return return_of_many_calls(void) {
    return mal_load_relaxed(&filters_may_follow) ? MAL_BACKGROUND_AT_ONCE : MAL_BACKGROUND_LATER;
}

static void call_back(struct absent absent, enum mal_background_return when) {
    int saved_errno = errno;
    if (absent.background)
        mal_background_take_back(when);
    if (absent.http)
        mal_http_resume();
    errno = saved_errno;
}

static enum demand demand_of_unshare(int flags) {
    if (flags & (CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_FILES))
        return MUST_GO;
    return flags & ~(CLONE_NEWPID | CLONE_NEWTIME) ? SHOULD_GO : MAY_STAY;
}

/* A descriptor that does not say what it is may be anything. */
static enum demand demand_of_setns(int fd, int type) {
    int saved_errno = errno;
    int types = type != 0 ? type : ioctl(fd, NS_GET_NSTYPE);
    errno = saved_errno;
    if (types <= 0 || types & (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWTIME))
        return MUST_GO;
    return types == CLONE_NEWPID ? MAY_STAY : SHOULD_GO;
}

MAL_PUBLIC int mallard_unshare(int flags) {
    struct absent absent = send_away(demand_of_unshare(flags));
    int result = (int)syscall(SYS_unshare, flags);
    call_back(absent, MAL_BACKGROUND_AT_ONCE);
    return result;
}

MAL_PUBLIC int mallard_setns(int fd, int type) {
    struct absent absent = send_away(demand_of_setns(fd, type));
    int result = (int)syscall(SYS_setns, fd, type);
    call_back(absent, MAL_BACKGROUND_AT_ONCE);
    return result;
}

MAL_PUBLIC int mallard_capset(cap_user_header_t header, const cap_user_data_t data) {
    struct absent absent = send_away(MUST_GO);
    int result = (int)syscall(SYS_capset, header, data);
    call_back(absent, return_of_many_calls());
    return result;
}

/* A call that cannot succeed only asks whether the kernel knows filters. */
static bool is_question(int option, unsigned long mode, unsigned long filter) {
    return option == PR_SET_SECCOMP && mode == SECCOMP_MODE_FILTER && filter == 0;
}

static enum demand demand_of_prctl(int option) {
    switch (option) {
    case PR_SET_KEEPCAPS:
    case PR_SET_SECUREBITS:
        return MUST_GO;
    case PR_CAPBSET_DROP:
    case PR_CAP_AMBIENT:
    case PR_SET_NO_NEW_PRIVS:
        return SHOULD_GO;
    case PR_SET_SECCOMP:
        return GO_FOR_GOOD;
    default:
        return MAY_STAY;
    }
}

static void see_done(int option) {
    if (option == PR_SET_SECCOMP)
        mal_background_renounce();
    if (option == PR_SET_NO_NEW_PRIVS)
        mal_store_relaxed(&filters_may_follow, 1u);
}

/* The last moment at which the thread can surely be had, and the box: the thread would make it,
 * too, but perhaps after an allocation of the program's had to. */
static void start_before_filters(void) {
    int saved_errno = errno;
    if (!mal_critical_is_open()) {
        mal_profile_ensure_box_in_time();
        mal_background_start();
    }
    errno = saved_errno;
}

/* Reading, writing and ending are all that the strict mode allows, and the clock is not to be read
 * either: the kernel forbids the processor's counter with it. malloc works on what is there
 * already, as libc's does, when it takes no samples. */
static bool is_strict_mode(int option, unsigned long mode) {
    return option == PR_SET_SECCOMP && mode == SECCOMP_MODE_STRICT && !mal_critical_is_open();
}

/* As many arguments as any option has; libc reads them in the same way. */
MAL_PUBLIC int mallard_prctl(int option, ...) {
    va_list list;
    va_start(list, option);
    unsigned long argument[4];
    for (unsigned i = 0; i < MAL_COUNT_OF(argument); i++)
        argument[i] = va_arg(list, unsigned long);
    va_end(list);
    bool is_asking = is_question(option, argument[0], argument[1]);
    struct absent absent = send_away(is_asking ? MAY_STAY : demand_of_prctl(option));
    bool is_strict = is_strict_mode(option, argument[0]);
    uint64_t rate = is_strict ? mal_memory_set_rate(0) : 0;
    int result =
        (int)syscall(SYS_prctl, option, argument[0], argument[1], argument[2], argument[3]);
    if (result == 0)
        see_done(option);
    else if (is_strict)
        mal_memory_set_rate(rate);
    call_back(absent, return_of_many_calls());
    if (result == 0 && option == PR_SET_NO_NEW_PRIVS)
        start_before_filters();
    return result;
}

MAL_ALIAS(unshare, mallard_unshare);
MAL_ALIAS(setns, mallard_setns);
MAL_ALIAS(capset, mallard_capset);
MAL_ALIAS(prctl, mallard_prctl);
