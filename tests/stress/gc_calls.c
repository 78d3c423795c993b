/* SPDX-License-Identifier: Apache-2.0
 *
 * Every call that libmallard-gc.so wraps, while the world is stopped thousands of times a second:
 * none may end early, with EINTR, or with another result than libc's.
 */
#include "gc_world.h"

#include <aio.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <threads.h>

#define WAIT_MS 60
#define ROUNDS 3

extern char **environ;

static struct timespec in_ms(clockid_t clock, long ms) {
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_nsec += ms * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}
static const struct timespec wait_time = {0, WAIT_MS * 1000000};

/* ---- calls that end by their timeout ---- */

static bool with_poll(void) {
    return poll(NULL, 0, WAIT_MS) == 0;
}
static bool with_ppoll(void) {
    return ppoll(NULL, 0, &wait_time, NULL) == 0;
}
static bool with_select(void) {
    struct timeval t = {0, WAIT_MS * 1000};
    return select(0, NULL, NULL, NULL, &t) == 0;
}
static bool with_pselect(void) {
    sigset_t all;
    sigfillset(&all);
    return pselect(0, NULL, NULL, NULL, &wait_time, &all) == 0;
}
static bool with_epoll(void) {
    struct epoll_event event;
    sigset_t all;
    sigfillset(&all);
    int fd = epoll_create1(EPOLL_CLOEXEC);
    bool good = epoll_wait(fd, &event, 1, WAIT_MS) == 0 &&
                epoll_pwait(fd, &event, 1, WAIT_MS, &all) == 0 &&
                epoll_pwait2(fd, &event, 1, &wait_time, &all) == 0;
    return close(fd) == 0 && good;
}
static bool with_nanosleep(void) {
    struct timespec rest = {0, 0};
    return nanosleep(&wait_time, &rest) == 0;
}
static bool with_clock_nanosleep(void) {
    struct timespec until = in_ms(CLOCK_MONOTONIC, WAIT_MS);
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == 0;
}
static bool with_sleep(void) {
    return sleep(1) == 0;
}
static bool with_usleep(void) {
    return usleep(WAIT_MS * 1000) == 0;
}
static bool with_thrd_sleep(void) {
    return thrd_sleep(&wait_time, NULL) == 0;
}
static bool with_sem_timedwait(void) {
    sem_t semaphore;
    struct timespec until = in_ms(CLOCK_REALTIME, WAIT_MS);
    sem_init(&semaphore, 0, 0);
    return sem_timedwait(&semaphore, &until) == -1 && errno == ETIMEDOUT;
}
static bool with_sem_clockwait(void) {
    sem_t semaphore;
    struct timespec until = in_ms(CLOCK_MONOTONIC, WAIT_MS);
    sem_init(&semaphore, 0, 0);
    return sem_clockwait(&semaphore, CLOCK_MONOTONIC, &until) == -1 && errno == ETIMEDOUT;
}
static bool with_cond_timedwait(void) {
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    struct timespec until = in_ms(CLOCK_REALTIME, WAIT_MS);
    pthread_mutex_lock(&mutex);
    int error = pthread_cond_timedwait(&condition, &mutex, &until);
    return pthread_mutex_unlock(&mutex) == 0 && error == ETIMEDOUT;
}
static bool with_cond_clockwait(void) {
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    struct timespec until = in_ms(CLOCK_MONOTONIC, WAIT_MS);
    pthread_mutex_lock(&mutex);
    int error = pthread_cond_clockwait(&condition, &mutex, CLOCK_MONOTONIC, &until);
    return pthread_mutex_unlock(&mutex) == 0 && error == ETIMEDOUT;
}
static bool with_cnd_timedwait(void) {
    cnd_t condition;
    mtx_t mutex;
    struct timespec until = in_ms(CLOCK_REALTIME, WAIT_MS);
    cnd_init(&condition);
    mtx_init(&mutex, mtx_plain);
    mtx_lock(&mutex);
    int error = cnd_timedwait(&condition, &mutex, &until);
    mtx_unlock(&mutex);
    return error == thrd_timedout;
}
static bool with_sigtimedwait(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigtimedwait(&set, NULL, &wait_time) == -1 && errno == EAGAIN;
}
static bool with_semtimedop(void) {
    int set = semget(IPC_PRIVATE, 1, 0600);
    struct sembuf down = {0, -1, 0};
    bool good = set < 0 || (semtimedop(set, &down, 1, &wait_time) == -1 && errno == EAGAIN);
    semctl(set, 0, IPC_RMID);
    return good;
}
static bool with_mq_timedreceive(void) {
    char name[64];
    char data[64];
    struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = sizeof data};
    struct timespec until = in_ms(CLOCK_REALTIME, WAIT_MS);
    snprintf(name, sizeof name, "/gc_calls.%d.%d", getpid(), gettid());
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    if (queue == (mqd_t)-1)
        return usleep(WAIT_MS * 1000) == 0; /* no such file system here */
    mq_unlink(name);
    bool good = mq_timedreceive(queue, data, sizeof data, NULL, &until) == -1 && errno == ETIMEDOUT;
    return mq_close(queue) == 0 && good;
}
static bool with_receive_timeout(void) {
    int pair[2];
    char data[8];
    struct timeval t = {0, WAIT_MS * 1000};
    struct iovec part = {data, sizeof data};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    bool good = recv(pair[0], data, sizeof data, 0) == -1 && errno == EAGAIN &&
                recvfrom(pair[0], data, sizeof data, 0, NULL, NULL) == -1 && errno == EAGAIN &&
                recvmsg(pair[0], &message, 0) == -1 && errno == EAGAIN &&
                read(pair[0], data, sizeof data) == -1 && errno == EAGAIN &&
                readv(pair[0], &part, 1) == -1 && errno == EAGAIN;
    close(pair[0]);
    close(pair[1]);
    return good;
}
static int listening_socket(struct sockaddr_in *ret_address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t bytes = sizeof *ret_address;
    *ret_address = (struct sockaddr_in){.sin_family = AF_INET};
    ret_address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(bind(fd, (struct sockaddr *)ret_address, bytes) == 0 && listen(fd, 8) == 0, "listen");
    getsockname(fd, (struct sockaddr *)ret_address, &bytes);
    return fd;
}
static bool with_accept_timeout(void) {
    struct sockaddr_in address;
    struct timeval t = {0, WAIT_MS * 1000};
    int fd = listening_socket(&address);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    bool good = accept(fd, NULL, NULL) == -1 && errno == EAGAIN &&
                accept4(fd, NULL, NULL, SOCK_CLOEXEC) == -1 && errno == EAGAIN;
    close(fd);
    return good;
}

/* ---- calls that somebody else ends ---- */

struct deed {
    void (*act)(void *argument);
    void *argument;
};

static void *act_later(void *argument) {
    struct deed *deed = argument;
    usleep(WAIT_MS * 1000);
    deed->act(deed->argument);
    return NULL;
}

static bool while_later(void (*act)(void *), void *argument, bool (*wait)(void *)) {
    pthread_t thread;
    struct deed deed = {act, argument};
    must(pthread_create(&thread, NULL, act_later, &deed) == 0, "pthread_create");
    bool good = wait(argument);
    return pthread_join(thread, NULL) == 0 && good;
}

static void post(void *semaphore) {
    sem_post(semaphore);
}
static bool wait_semaphore(void *semaphore) {
    return sem_wait(semaphore) == 0;
}
static bool with_sem_wait(void) {
    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    return while_later(post, &semaphore, wait_semaphore);
}

struct condition {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    bool set;
};
static void set_condition(void *argument) {
    struct condition *c = argument;
    pthread_mutex_lock(&c->mutex);
    c->set = true;
    pthread_cond_signal(&c->condition);
    pthread_mutex_unlock(&c->mutex);
}
static bool wait_condition(void *argument) {
    struct condition *c = argument;
    int error = 0;
    pthread_mutex_lock(&c->mutex);
    while (!c->set && error == 0)
        error = pthread_cond_wait(&c->condition, &c->mutex);
    pthread_mutex_unlock(&c->mutex);
    return error == 0;
}
static bool with_cond_wait(void) {
    struct condition c = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    return while_later(set_condition, &c, wait_condition);
}

static void meet_at_barrier(void *barrier) {
    pthread_barrier_wait(barrier);
}
static bool wait_at_barrier(void *barrier) {
    int result = pthread_barrier_wait(barrier);
    return result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD;
}
static bool with_barrier(void) {
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 2);
    return while_later(meet_at_barrier, &barrier, wait_at_barrier);
}

static void write_pipe(void *argument) {
    if (write(((int *)argument)[1], "hello", 5) != 5)
        abort();
}
static bool read_pipe(void *argument) {
    char data[16];
    return read(((int *)argument)[0], data, sizeof data) == 5 && memcmp(data, "hello", 5) == 0;
}
static bool with_read(void) {
    int ends[2];
    must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
    bool good = while_later(write_pipe, ends, read_pipe);
    close(ends[0]);
    close(ends[1]);
    return good;
}

#define MUCH (1u << 20)
static void drain_pipe(void *argument) {
    static __thread char data[4096];
    for (size_t got = 0; got < MUCH;) {
        ssize_t now = read(((int *)argument)[0], data, sizeof data);
        if (now <= 0)
            abort();
        got += (size_t)now;
    }
}
static bool fill_pipe(void *argument) {
    char *data = calloc(1, MUCH);
    ssize_t wrote = write(((int *)argument)[1], data, MUCH);
    free(data);
    return wrote == (ssize_t)MUCH;
}
static bool with_write(void) {
    int ends[2];
    must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
    bool good = while_later(drain_pipe, ends, fill_pipe);
    close(ends[0]);
    close(ends[1]);
    return good;
}

static void connect_to(void *argument) {
    struct sockaddr_in *address = argument;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)address, sizeof *address) != 0 || send(fd, "x", 1, 0) != 1)
        abort();
    close(fd);
}
static __thread int accepting_fd;
static bool accept_one(void *unused) {
    (void)unused;
    char byte = 0;
    int fd = accept(accepting_fd, NULL, NULL);
    bool good = fd >= 0 && recv(fd, &byte, 1, MSG_WAITALL) == 1 && byte == 'x';
    close(fd);
    return good;
}
static bool with_accept(void) {
    struct sockaddr_in address;
    accepting_fd = listening_socket(&address);
    bool good = while_later(connect_to, &address, accept_one);
    close(accepting_fd);
    return good;
}

static pid_t sleeping_child(void) {
    char *arguments[] = {"sleep", "0.06", NULL};
    pid_t pid = 0;
    must(posix_spawnp(&pid, "sleep", NULL, NULL, arguments, environ) == 0, "posix_spawn");
    return pid;
}
static bool with_waitpid(void) {
    int status = -1;
    pid_t pid = sleeping_child();
    return waitpid(pid, &status, 0) == pid && status == 0;
}
static bool with_waitid(void) {
    siginfo_t info;
    return waitid(P_PID, (id_t)sleeping_child(), &info, WEXITED) == 0 && info.si_status == 0;
}
static bool with_wait4(void) {
    int status = -1;
    pid_t pid = sleeping_child();
    return wait4(pid, &status, 0, NULL) == pid && status == 0;
}

static void send_usr2(void *thread) {
    pthread_kill(*(pthread_t *)thread, SIGUSR2);
}
static bool take_usr2(void *unused) {
    sigset_t set;
    int number = 0;
    (void)unused;
    sigfillset(&set); /* ours among them: it must not be taken away */
    sigdelset(&set, SIGCHLD);
    return sigwait(&set, &number) == 0 && number == SIGUSR2;
}
static bool with_sigwait(void) {
    pthread_t self = pthread_self();
    return while_later(send_usr2, &self, take_usr2);
}
static void on_usr1(int number) {
    (void)number;
}
static void send_usr1(void *thread) {
    pthread_kill(*(pthread_t *)thread, SIGUSR1);
}
static bool suspend(void *unused) {
    sigset_t set;
    (void)unused;
    sigfillset(&set);
    sigdelset(&set, SIGUSR1);
    return sigsuspend(&set) == -1 && errno == EINTR;
}
static bool with_sigsuspend(void) {
    pthread_t self = pthread_self();
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    bool good = while_later(send_usr1, &self, suspend);
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    return good;
}

static void unlock_file(void *argument) {
    flock(((int *)argument)[0], LOCK_UN);
}
static bool lock_file(void *argument) {
    return flock(((int *)argument)[1], LOCK_EX) == 0;
}
static bool with_flock(void) {
    char path[] = "/tmp/gc_calls.XXXXXX";
    int fds[2] = {mkostemp(path, O_CLOEXEC), open(path, O_RDWR | O_CLOEXEC)};
    must(fds[0] >= 0 && fds[1] >= 0, path);
    unlink(path);
    flock(fds[0], LOCK_EX);
    bool good = while_later(unlock_file, fds, lock_file);
    close(fds[0]);
    close(fds[1]);
    return good;
}
static void unlock_range(void *argument) {
    struct flock range = {.l_type = F_UNLCK};
    fcntl(((int *)argument)[0], F_OFD_SETLK, &range);
}
static bool lock_range(void *argument) {
    struct flock range = {.l_type = F_WRLCK};
    return fcntl(((int *)argument)[1], F_OFD_SETLKW, &range) == 0;
}
static bool with_fcntl(void) {
    char path[] = "/tmp/gc_calls.XXXXXX";
    int fds[2] = {mkostemp(path, O_CLOEXEC), open(path, O_RDWR | O_CLOEXEC)};
    struct flock range = {.l_type = F_WRLCK};
    must(fds[0] >= 0 && fds[1] >= 0, path);
    unlink(path);
    fcntl(fds[0], F_OFD_SETLK, &range);
    bool good = while_later(unlock_range, fds, lock_range);
    close(fds[0]);
    close(fds[1]);
    return good;
}

struct letter {
    long type;
    char text[8];
};
static void send_letter(void *queue) {
    struct letter letter = {1, "hello"};
    msgsnd(*(int *)queue, &letter, sizeof letter.text, 0);
}
static bool receive_letter(void *queue) {
    struct letter letter;
    return msgrcv(*(int *)queue, &letter, sizeof letter.text, 0, 0) == sizeof letter.text;
}
static bool with_msgrcv(void) {
    int queue = msgget(IPC_PRIVATE, 0600);
    if (queue < 0)
        return usleep(WAIT_MS * 1000) == 0;
    bool good = while_later(send_letter, &queue, receive_letter);
    msgctl(queue, IPC_RMID, NULL);
    return good;
}

static void *sleep_awhile(void *argument) {
    usleep(WAIT_MS * 1000);
    return argument;
}
static bool with_join(void) {
    pthread_t thread;
    void *value = NULL;
    struct timespec soon = in_ms(CLOCK_REALTIME, 1);
    must(pthread_create(&thread, NULL, sleep_awhile, &value) == 0, "pthread_create");
    int early = pthread_timedjoin_np(thread, &value, &soon);
    return (early == ETIMEDOUT || early == 0) &&
           (early == 0 || pthread_join(thread, &value) == 0) && value == &value;
}

struct call {
    const char *name;
    bool (*run)(void);
    long ms; /* it must last so long at least */
};
static const struct call calls[] = {
    {"poll", with_poll, WAIT_MS},
    {"ppoll", with_ppoll, WAIT_MS},
    {"select", with_select, WAIT_MS},
    {"pselect", with_pselect, WAIT_MS},
    {"epoll_wait, epoll_pwait, epoll_pwait2", with_epoll, 3 * WAIT_MS},
    {"nanosleep", with_nanosleep, WAIT_MS},
    {"clock_nanosleep", with_clock_nanosleep, WAIT_MS},
    {"sleep", with_sleep, 1000},
    {"usleep", with_usleep, WAIT_MS},
    {"thrd_sleep", with_thrd_sleep, WAIT_MS},
    {"sem_wait", with_sem_wait, WAIT_MS},
    {"sem_timedwait", with_sem_timedwait, WAIT_MS},
    {"sem_clockwait", with_sem_clockwait, WAIT_MS},
    {"pthread_cond_wait", with_cond_wait, WAIT_MS},
    {"pthread_cond_timedwait", with_cond_timedwait, WAIT_MS},
    {"pthread_cond_clockwait", with_cond_clockwait, WAIT_MS},
    {"cnd_timedwait", with_cnd_timedwait, WAIT_MS},
    {"pthread_barrier_wait", with_barrier, WAIT_MS},
    {"pthread_join, pthread_timedjoin_np", with_join, WAIT_MS},
    {"recv, recvfrom, recvmsg, read, readv with a timeout", with_receive_timeout, 5 * WAIT_MS},
    {"accept, accept4 with a timeout", with_accept_timeout, 2 * WAIT_MS},
    {"accept, connect, send, recv", with_accept, WAIT_MS},
    {"read from a pipe", with_read, WAIT_MS},
    {"write to a full pipe", with_write, WAIT_MS},
    {"waitpid", with_waitpid, WAIT_MS},
    {"waitid", with_waitid, WAIT_MS},
    {"wait4", with_wait4, WAIT_MS},
    {"sigwait", with_sigwait, WAIT_MS},
    {"sigtimedwait", with_sigtimedwait, WAIT_MS},
    {"sigsuspend", with_sigsuspend, WAIT_MS},
    {"flock", with_flock, WAIT_MS},
    {"fcntl F_OFD_SETLKW", with_fcntl, WAIT_MS},
    {"semtimedop", with_semtimedop, WAIT_MS},
    {"msgrcv", with_msgrcv, WAIT_MS},
    {"mq_timedreceive", with_mq_timedreceive, WAIT_MS},
};
#define CALLS (sizeof calls / sizeof calls[0])
static uint32_t bad_rounds[CALLS];

static void *run_call(void *argument) {
    const struct call *call = argument;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t began_ns = mal_clock_mono_ns();
        bool good = call->run();
        uint64_t took_ms = (mal_clock_mono_ns() - began_ns) / 1000000;
        if (good && took_ms + 1 >= (uint64_t)call->ms && took_ms < (uint64_t)call->ms + 5000)
            continue;
        bad_rounds[call - calls]++;
        printf("   %s: %s after %lu ms: %s\n", call->name, good ? "good" : "bad",
               (unsigned long)took_ms, strerror(errno));
    }
    return NULL;
}

static void test_calls(void) {
    pthread_t threads[CALLS];
    pthread_t stopper = stopper_start();
    for (size_t i = 0; i < CALLS; i++)
        must(pthread_create(&threads[i], NULL, run_call, (void *)&calls[i]) == 0, "pthread_create");
    for (size_t i = 0; i < CALLS; i++)
        pthread_join(threads[i], NULL);
    stopper_end(stopper, "blocking calls");
    for (size_t i = 0; i < CALLS; i++)
        judge(bad_rounds[i] == 0, calls[i].name);
}

/* ---- ways out of a call that are no return ---- */

static bool runs_the_program(void) {
    return mal_gc_self && mal_load_relaxed(&mal_gc_self->state) == MAL_GC_RUNNING &&
           mal_gc_self->blocking_depth == 0;
}
static void note_state(void *ret_good) {
    *(bool *)ret_good = runs_the_program();
}
static void *poll_for_ever(void *ret_good) {
    pthread_cleanup_push(note_state, ret_good);
    poll(NULL, 0, -1);
    pthread_cleanup_pop(0);
    return NULL;
}
static void test_cancel(void) {
    unsigned good = 0;
    pthread_t stopper = stopper_start();
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        bool clean = false;
        void *value = NULL;
        must(pthread_create(&thread, NULL, poll_for_ever, &clean) == 0, "pthread_create");
        usleep(2000);
        pthread_cancel(thread);
        pthread_join(thread, &value);
        good += clean && value == PTHREAD_CANCELED;
    }
    stopper_end(stopper, "cancellation");
    judge(good == 50, "a cancelled thread is out of its region before cleanup handlers run");
}

static sigjmp_buf out;
static void jump(int number) {
    (void)number;
    siglongjmp(out, 1);
}
static void *read_until_jump(void *ret_good) {
    int ends[2];
    char byte;
    must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
    if (sigsetjmp(out, 1) == 0) {
        pthread_kill(pthread_self(), SIGALRM); /* taken in a region, too, by the next line */
        (void)!read(ends[0], &byte, 1);
    }
    *(bool *)ret_good = runs_the_program();
    return NULL;
}
static void *read_until_late_jump(void *ret_good) {
    int ends[2];
    char byte;
    must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
    if (sigsetjmp(out, 1) == 0)
        (void)!read(ends[0], &byte, 1);
    *(bool *)ret_good = runs_the_program();
    pthread_exit(NULL); /* runs what a forgotten cleanup handler would have left */
}
static void test_jump(void) {
    pthread_t thread;
    bool good[2] = {false, false};
    signal(SIGALRM, jump);
    pthread_create(&thread, NULL, read_until_jump, &good[0]);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, read_until_late_jump, &good[1]);
    usleep(50000);
    pthread_kill(thread, SIGALRM);
    pthread_join(thread, NULL);
    judge(good[0] && good[1], "siglongjmp out of a blocking call leaves its region");
}

static void test_names(void) {
#ifdef __x86_64__
    void *wanted = dlvsym(RTLD_NEXT, "pthread_cond_wait", "GLIBC_2.3.2");
    judge(wanted && dlsym(RTLD_NEXT, "pthread_cond_wait") == wanted,
          "the condition variables behind the wrappers are the new ones");
#endif
    int (*volatile mine)(struct pollfd *, nfds_t, int) = poll;
    judge((void *)mine != dlsym(RTLD_NEXT, "poll"), "poll is the wrapper");
}

/* A thread that blocks everything it knows of is stopped all the same. */
static uint32_t may_end;
static void *block_all(void *unused) {
    sigset_t all;
    (void)unused;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    while (!mal_load_acquire(&may_end))
        ;
    return NULL;
}
static void test_masks(void) {
    pthread_t thread;
    uint64_t most_ns = 0;
    struct sigaction action = {.sa_handler = on_usr1};
    must(pthread_create(&thread, NULL, block_all, NULL) == 0, "pthread_create");
    usleep(10000);
    for (int i = 0; i < 200; i++) {
        uint64_t took_ns = stop_once(nothing, NULL);
        most_ns = took_ns > most_ns ? took_ns : most_ns;
    }
    mal_store_release(&may_end, 1u);
    pthread_join(thread, NULL);
    judge(most_ns < 900000000, "a thread that blocks all signals is stopped");
    extern int mallard_gc_signal(void);
    judge(sigaction(mallard_gc_signal(), &action, NULL) == -1 && errno == EINVAL,
          "the stop signal gets no other handler");
}

int main(void) {
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr2, NULL);
    signal(SIGUSR1, on_usr1);
    must(mal_gc_world_init() == 0, "mal_gc_world_init");
    test_names();
    test_calls();
    test_cancel();
    test_jump();
    test_masks();
    return end_of_tests();
}
