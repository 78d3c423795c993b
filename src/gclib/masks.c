/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeping the signal that stops threads open: whatever the program does to masks and handlers, it
 * does to all signals but that one.
 *
 * A program that blocks "all signals" in a thread means those that it knows. It gets what it asked
 * for; the one signal is taken out of every set on its way, and like libc's own real-time signals
 * it can be given no handler (EINVAL).
 *
 * The waits that install a mask are here too, each in a blocking region.
 */
#include "gclib/next.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <time.h>

/* Fills *ret_cut with the set less our signal; returns what to pass on. A thread of Mallard's own
 * is born with every signal blocked: if it took ours before it is known as such, it would be
 * adopted. */
static const sigset_t *cut(const sigset_t *given, sigset_t *ret_cut) {
    int number = mallard_gc_signal();
    if (!given || number == 0 || !mallard_gc_thread_is_wanted())
        return given;
    *ret_cut = *given;
    sigdelset(ret_cut, number);
    return ret_cut;
}

GCLIB_PUBLIC int sigaction(int number, const struct sigaction *restrict action,
                           struct sigaction *restrict ret_old) {
    struct sigaction open_action;
    if (mallard_gc_signal_is_taken(number)) {
        errno = EINVAL;
        return -1;
    }
    if (action) {
        open_action = *action;
        cut(&action->sa_mask, &open_action.sa_mask);
        action = &open_action;
    }
    return NEXT(sigaction)(number, action, ret_old);
}

GCLIB_PUBLIC sighandler_t signal(int number, sighandler_t handler) {
    if (mallard_gc_signal_is_taken(number)) {
        errno = EINVAL;
        return SIG_ERR;
    }
    return NEXT(signal)(number, handler);
}

GCLIB_PUBLIC int sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict ret_old) {
    sigset_t open_set;
    return NEXT(sigprocmask)(how, how == SIG_UNBLOCK ? set : cut(set, &open_set), ret_old);
}

GCLIB_PUBLIC int pthread_sigmask(int how, const sigset_t *restrict set,
                                 sigset_t *restrict ret_old) {
    sigset_t open_set;
    return NEXT(pthread_sigmask)(how, how == SIG_UNBLOCK ? set : cut(set, &open_set), ret_old);
}

GCLIB_PUBLIC int pthread_attr_setsigmask_np(pthread_attr_t *attributes, const sigset_t *set) {
    sigset_t open_set;
    return NEXT(pthread_attr_setsigmask_np)(attributes, cut(set, &open_set));
}

GCLIB_PUBLIC int signalfd(int fd, const sigset_t *set, int flags) {
    sigset_t open_set;
    return NEXT(signalfd)(fd, cut(set, &open_set), flags);
}

GCLIB_PUBLIC int sigsuspend(const sigset_t *set) {
    sigset_t open_set;
    int result;
    set = cut(set, &open_set);
    IN_REGION(result, NEXT(sigsuspend)(set));
    return result;
}

GCLIB_PUBLIC int sigwait(const sigset_t *restrict set, int *restrict ret_number) {
    sigset_t open_set;
    int result;
    set = cut(set, &open_set);
    IN_REGION(result, NEXT(sigwait)(set, ret_number));
    return result;
}

GCLIB_PUBLIC int sigwaitinfo(const sigset_t *restrict set, siginfo_t *restrict ret_info) {
    sigset_t open_set;
    int result;
    set = cut(set, &open_set);
    IN_REGION(result, NEXT(sigwaitinfo)(set, ret_info));
    return result;
}

GCLIB_PUBLIC int sigtimedwait(const sigset_t *restrict set, siginfo_t *restrict ret_info,
                              const struct timespec *restrict timeout) {
    sigset_t open_set;
    int result;
    set = cut(set, &open_set);
    IN_REGION(result, NEXT(sigtimedwait)(set, ret_info, timeout));
    return result;
}

GCLIB_PUBLIC int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                       const sigset_t *set) {
    sigset_t open_set;
    int result;
    set = cut(set, &open_set);
    IN_REGION(result, NEXT(ppoll)(fds, count, timeout, set));
    return result;
}

int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                const sigset_t *set, size_t room);
GCLIB_PUBLIC int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                             const sigset_t *set, size_t room) {
    sigset_t open_set;
    int result;
    set = cut(set, &open_set);
    IN_REGION(result, NEXT(__ppoll_chk)(fds, count, timeout, set, room));
    return result;
}

GCLIB_PUBLIC int pselect(int count, fd_set *restrict in, fd_set *restrict out,
                         fd_set *restrict other, const struct timespec *restrict timeout,
                         const sigset_t *restrict set) {
    sigset_t open_set;
    int result;
    set = cut(set, &open_set);
    IN_REGION(result, NEXT(pselect)(count, in, out, other, timeout, set));
    return result;
}

GCLIB_PUBLIC int epoll_pwait(int fd, struct epoll_event *events, int most, int timeout,
                             const sigset_t *set) {
    sigset_t open_set;
    int result;
    set = cut(set, &open_set);
    IN_REGION(result, NEXT(epoll_pwait)(fd, events, most, timeout, set));
    return result;
}

GCLIB_PUBLIC int epoll_pwait2(int fd, struct epoll_event *events, int most,
                              const struct timespec *timeout, const sigset_t *set) {
    sigset_t open_set;
    int result;
    set = cut(set, &open_set);
    IN_REGION(result, NEXT(epoll_pwait2)(fd, events, most, timeout, set));
    return result;
}
