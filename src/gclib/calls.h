/* SPDX-License-Identifier: Apache-2.0
 *
 * The calls that may sleep for long, or that a signal would end early: one line each.
 *
 *     CALL(result, name, (parameters), (arguments))
 *
 * What is not here: calls that allocate or call the program back (getaddrinfo, popen, system,
 * stdio), which retry by themselves; locks (pthread_mutex_lock and its kin), which the kernel
 * restarts unnoticed; and syscall(2), whose waits (futex, io_uring_enter) may end with EINTR for
 * any reason by contract. Threads in those are stopped by the signal.
 */
/* Waiting for descriptors and time. */
CALL(int, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
CALL(int, select, (int count, fd_set *in, fd_set *out, fd_set *other, struct timeval *timeout),
     (count, in, out, other, timeout))
CALL(int, epoll_wait, (int fd, struct epoll_event *events, int most, int timeout),
     (fd, events, most, timeout))
CALL(int, nanosleep, (const struct timespec *time, struct timespec *rest), (time, rest))
CALL(int, clock_nanosleep,
     (clockid_t clock, int flags, const struct timespec *time, struct timespec *rest),
     (clock, flags, time, rest))
CALL(unsigned, sleep, (unsigned seconds), (seconds))
CALL(int, usleep, (useconds_t microseconds), (microseconds))
CALL(int, thrd_sleep, (const struct timespec *time, struct timespec *rest), (time, rest))

/* Waiting for threads. */
CALL(int, sem_wait, (sem_t * semaphore), (semaphore))
CALL(int, sem_timedwait, (sem_t * semaphore, const struct timespec *until), (semaphore, until))
CALL(int, sem_clockwait, (sem_t * semaphore, clockid_t clock, const struct timespec *until),
     (semaphore, clock, until))
CALL(int, pthread_cond_wait, (pthread_cond_t * condition, pthread_mutex_t *mutex),
     (condition, mutex))
CALL(int, pthread_cond_timedwait,
     (pthread_cond_t * condition, pthread_mutex_t *mutex, const struct timespec *until),
     (condition, mutex, until))
CALL(int, pthread_cond_clockwait,
     (pthread_cond_t * condition, pthread_mutex_t *mutex, clockid_t clock,
      const struct timespec *until),
     (condition, mutex, clock, until))
CALL(int, pthread_barrier_wait, (pthread_barrier_t * barrier), (barrier))
CALL(int, cnd_wait, (cnd_t * condition, mtx_t *mutex), (condition, mutex))
CALL(int, cnd_timedwait, (cnd_t * condition, mtx_t *mutex, const struct timespec *until),
     (condition, mutex, until))
CALL(int, thrd_join, (thrd_t thread, int *result), (thread, result))

/* Waiting for processes and signals. */
CALL(pid_t, wait, (int *status), (status))
CALL(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options))
CALL(int, waitid, (idtype_t type, id_t id, siginfo_t *info, int options), (type, id, info, options))
CALL(pid_t, wait3, (int *status, int options, struct rusage *usage), (status, options, usage))
CALL(pid_t, wait4, (pid_t pid, int *status, int options, struct rusage *usage),
     (pid, status, options, usage))
CALL(int, posix_spawn,
     (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
      const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[]),
     (pid, path, actions, attributes, arguments, environment))
CALL(int, posix_spawnp,
     (pid_t * pid, const char *file, const posix_spawn_file_actions_t *actions,
      const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[]),
     (pid, file, actions, attributes, arguments, environment))
CALL(int, pause, (void), ())

/* Sockets. */
CALL(int, accept, (int fd, struct sockaddr *address, socklen_t *bytes), (fd, address, bytes))
CALL(int, accept4, (int fd, struct sockaddr *address, socklen_t *bytes, int flags),
     (fd, address, bytes, flags))
CALL(int, connect, (int fd, const struct sockaddr *address, socklen_t bytes), (fd, address, bytes))
CALL(ssize_t, recv, (int fd, void *data, size_t bytes, int flags), (fd, data, bytes, flags))
CALL(ssize_t, recvfrom,
     (int fd, void *data, size_t bytes, int flags, struct sockaddr *address,
      socklen_t *address_bytes),
     (fd, data, bytes, flags, address, address_bytes))
CALL(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
CALL(int, recvmmsg,
     (int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout),
     (fd, messages, count, flags, timeout))
CALL(ssize_t, send, (int fd, const void *data, size_t bytes, int flags), (fd, data, bytes, flags))
CALL(ssize_t, sendto,
     (int fd, const void *data, size_t bytes, int flags, const struct sockaddr *address,
      socklen_t address_bytes),
     (fd, data, bytes, flags, address, address_bytes))
CALL(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
CALL(int, sendmmsg, (int fd, struct mmsghdr *messages, unsigned count, int flags),
     (fd, messages, count, flags))

/* Files, pipes, terminals. */
CALL(ssize_t, read, (int fd, void *data, size_t bytes), (fd, data, bytes))
CALL(ssize_t, write, (int fd, const void *data, size_t bytes), (fd, data, bytes))
CALL(ssize_t, readv, (int fd, const struct iovec *parts, int count), (fd, parts, count))
CALL(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
CALL(ssize_t, pread, (int fd, void *data, size_t bytes, off_t at), (fd, data, bytes, at))
CALL(ssize_t, pwrite, (int fd, const void *data, size_t bytes, off_t at), (fd, data, bytes, at))
CALL(ssize_t, pread64, (int fd, void *data, size_t bytes, off64_t at), (fd, data, bytes, at))
CALL(ssize_t, pwrite64, (int fd, const void *data, size_t bytes, off64_t at), (fd, data, bytes, at))
CALL(ssize_t, preadv, (int fd, const struct iovec *parts, int count, off_t at),
     (fd, parts, count, at))
CALL(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at),
     (fd, parts, count, at))
CALL(ssize_t, preadv64, (int fd, const struct iovec *parts, int count, off64_t at),
     (fd, parts, count, at))
CALL(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t at),
     (fd, parts, count, at))
CALL(ssize_t, preadv2, (int fd, const struct iovec *parts, int count, off_t at, int flags),
     (fd, parts, count, at, flags))
CALL(ssize_t, pwritev2, (int fd, const struct iovec *parts, int count, off_t at, int flags),
     (fd, parts, count, at, flags))
CALL(ssize_t, preadv64v2, (int fd, const struct iovec *parts, int count, off64_t at, int flags),
     (fd, parts, count, at, flags))
CALL(ssize_t, pwritev64v2, (int fd, const struct iovec *parts, int count, off64_t at, int flags),
     (fd, parts, count, at, flags))
CALL(ssize_t, sendfile, (int out, int in, off_t *at, size_t bytes), (out, in, at, bytes))
CALL(ssize_t, sendfile64, (int out, int in, off64_t *at, size_t bytes), (out, in, at, bytes))
CALL(ssize_t, splice,
     (int in, off64_t *in_at, int out, off64_t *out_at, size_t bytes, unsigned flags),
     (in, in_at, out, out_at, bytes, flags))
CALL(ssize_t, tee, (int in, int out, size_t bytes, unsigned flags), (in, out, bytes, flags))
CALL(ssize_t, vmsplice, (int fd, const struct iovec *parts, size_t count, unsigned flags),
     (fd, parts, count, flags))
CALL(ssize_t, copy_file_range,
     (int in, off64_t *in_at, int out, off64_t *out_at, size_t bytes, unsigned flags),
     (in, in_at, out, out_at, bytes, flags))
CALL(int, close, (int fd), (fd))
CALL(int, fsync, (int fd), (fd))
CALL(int, fdatasync, (int fd), (fd))
CALL(int, msync, (void *address, size_t bytes, int flags), (address, bytes, flags))
CALL(int, flock, (int fd, int operation), (fd, operation))
CALL(int, lockf, (int fd, int command, off_t bytes), (fd, command, bytes))
CALL(int, lockf64, (int fd, int command, off64_t bytes), (fd, command, bytes))
CALL(int, tcdrain, (int fd), (fd))
CALL(int, aio_suspend,
     (const struct aiocb *const list[], int count, const struct timespec *timeout),
     (list, count, timeout))

/* Messages and semaphores between processes. */
CALL(ssize_t, msgrcv, (int queue, void *message, size_t bytes, long type, int flags),
     (queue, message, bytes, type, flags))
CALL(int, msgsnd, (int queue, const void *message, size_t bytes, int flags),
     (queue, message, bytes, flags))
CALL(int, semop, (int set, struct sembuf *operations, size_t count), (set, operations, count))
CALL(int, semtimedop,
     (int set, struct sembuf *operations, size_t count, const struct timespec *timeout),
     (set, operations, count, timeout))
CALL(ssize_t, mq_receive, (mqd_t queue, char *message, size_t bytes, unsigned *priority),
     (queue, message, bytes, priority))
CALL(ssize_t, mq_timedreceive,
     (mqd_t queue, char *message, size_t bytes, unsigned *priority, const struct timespec *until),
     (queue, message, bytes, priority, until))
CALL(int, mq_send, (mqd_t queue, const char *message, size_t bytes, unsigned priority),
     (queue, message, bytes, priority))
CALL(int, mq_timedsend,
     (mqd_t queue, const char *message, size_t bytes, unsigned priority,
      const struct timespec *until),
     (queue, message, bytes, priority, until))

/* What the same calls become under _FORTIFY_SOURCE. */
CALL(int, __poll_chk, (struct pollfd * fds, nfds_t count, int timeout, size_t room),
     (fds, count, timeout, room))
CALL(ssize_t, __read_chk, (int fd, void *data, size_t bytes, size_t room), (fd, data, bytes, room))
CALL(ssize_t, __pread_chk, (int fd, void *data, size_t bytes, off_t at, size_t room),
     (fd, data, bytes, at, room))
CALL(ssize_t, __pread64_chk, (int fd, void *data, size_t bytes, off64_t at, size_t room),
     (fd, data, bytes, at, room))
CALL(ssize_t, __recv_chk, (int fd, void *data, size_t bytes, size_t room, int flags),
     (fd, data, bytes, room, flags))
CALL(ssize_t, __recvfrom_chk,
     (int fd, void *data, size_t bytes, size_t room, int flags, struct sockaddr *address,
      socklen_t *address_bytes),
     (fd, data, bytes, room, flags, address, address_bytes))
