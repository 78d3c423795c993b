/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls that see how many threads their process has. One role each; says what came of it in words
 * that do not depend on whether there is a library before libc. See alone.py.
 *
 * Where the library is preloaded, each role first waits until its background thread is there, and
 * where that is due looks whether it has come back.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int capset(cap_user_header_t header, const cap_user_data_t data);

#define PATIENCE_MS 5000
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_preloaded(void) {
    const char *library = getenv("LD_PRELOAD");
    return library && *library;
}

static int tasks(void) {
    struct stat facts;
    return stat("/proc/self/task", &facts) == 0 ? (int)facts.st_nlink - 2 : -1;
}

static void work(void) {
    for (int i = 0; i < 5000; i++)
        free(malloc(3000));
}

static bool has_tasks(int most) {
    for (int ms = 0; ms < PATIENCE_MS; ms++) {
        work();
        if (tasks() >= most)
            return true;
        usleep(1000);
    }
    return false;
}

/* Whether the library's threads are there, waited for. */
static bool has_own_threads(void) {
    return has_tasks(getenv("MALLARD_HTTP") ? 5 : 2);
}

static void say(const char *what, int result) {
    const char *why = result == 0 ? "done" : strerrorname_np(errno);
    printf("%s: %s\n", what, why);
}

static void say_if_not_back(void) {
    if (is_preloaded() && !has_own_threads())
        printf("the library's threads are not back: %d tasks\n", tasks());
}

static int unshare_and_say(int flags) {
    errno = E2BIG;
    int result = unshare(flags);
    if (result == 0 && errno != E2BIG)
        printf("errno has changed\n");
    say("unshare", result);
    return result;
}

static void unshare_user(void) {
    unshare_and_say(CLONE_NEWUSER);
    say_if_not_back();
}

/* With memory in all caches, as in the middle of a program's life. */
static void unshare_user_late(void) {
    for (int i = 0; i < 100; i++)
        work();
    unshare_user();
}

static void unshare_mount(void) {
    unshare_and_say(CLONE_NEWNS);
    say("chdir", chdir("/"));
    say_if_not_back();
}

/* A pipe that the program closes is closed, if no thread has kept a table of its own. */
static void unshare_files(void) {
    int ends[2];
    char byte;
    if (pipe2(ends, O_NONBLOCK) != 0)
        return;
    unshare_and_say(CLONE_FILES);
    close(ends[1]);
    printf("read: %zd\n", read(ends[0], &byte, 1));
}

/* From here on no thread can be made, but children can. */
static void unshare_pid(void) {
    if (unshare_and_say(CLONE_NEWPID) != 0)
        return;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        work();
        printf("the child is %d\n", (int)getpid());
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    work();
    say_if_not_back();
}

static void unshare_vm(void) {
    unshare_and_say(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD);
}

static void unshare_nonsense(void) {
    unshare_and_say(CLONE_PTRACE);
}

static void enter(const char *path, int type) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    errno = E2BIG;
    int result = setns(fd, type);
    if (result == 0 && errno != E2BIG)
        printf("errno has changed\n");
    say("setns", result);
    close(fd);
    say_if_not_back();
}

/* One may not enter the namespace that one is in: EINVAL. A child's is another one. */
static void setns_user(void) {
    int ready[2];
    char path[64];
    char byte;
    enter("/proc/self/ns/user", CLONE_NEWUSER);
    if (pipe(ready) != 0)
        return;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        byte = unshare(CLONE_NEWUSER) == 0;
        if (write(ready[1], &byte, 1) == 1)
            pause();
        _exit(0);
    }
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)child);
    if (read(ready[0], &byte, 1) == 1 && byte)
        enter(path, 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void setns_mount(void) {
    enter("/proc/self/ns/mnt", CLONE_NEWNS);
    enter("/proc/self/ns/mnt", 0);
}

static void setns_net(void) {
    enter("/proc/self/ns/net", CLONE_NEWNET);
    enter("/proc/self/ns/net", 0);
}

static void setns_nonsense(void) {
    enter("/dev/null", 0);
    enter("/nowhere", CLONE_NEWUSER);
}

static void *wait_for_ever(void *unused) {
    pause();
    return unused;
}

/* A program with threads is refused, as ever. */
static void threads(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_ever, NULL) == 0)
        unshare_and_say(CLONE_NEWUSER);
}

static void vfork_child(void) {
    static volatile int result;
    pid_t child = vfork();
    if (child == 0) {
        result = unshare(CLONE_NEWUSER);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    say("vfork's child", result);
    say_if_not_back();
}

static void unshare_in_handler(int signal) {
    (void)signal;
    unshare_and_say(CLONE_NEWUSER);
}

static void handler(void) {
    signal(SIGUSR1, unshare_in_handler);
    raise(SIGUSR1);
    say_if_not_back();
}

#define INTERRUPTIONS 200

static volatile sig_atomic_t interruptions;

static void unshare_files_in_handler(int signal) {
    (void)signal;
    int saved_errno = errno;
    interruptions += unshare(CLONE_FILES) == 0;
    errno = saved_errno;
}

/* In most cases the handler has interrupted malloc or free where they hold locks. */
static void handler_in_malloc(void) {
    struct itimerval often = {{0, 1000}, {0, 1000}};
    struct itimerval never = {{0, 0}, {0, 0}};
    static void *object[3000];
    signal(SIGALRM, unshare_files_in_handler);
    setitimer(ITIMER_REAL, &often, NULL);
    while (interruptions < INTERRUPTIONS) {
        for (size_t i = 0; i < COUNT(object); i++)
            object[i] = malloc(1000 + i % 50 * 1000);
        for (size_t i = 0; i < COUNT(object); i++)
            free(object[i]);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    say_if_not_back();
}

/* Whoever gives up their rights has given them up in every thread. */
static void credentials(void) {
    char command[128];
    if (setgid(65533) != 0 || setuid(65534) != 0) {
        printf("setuid: %s\n", strerrorname_np(errno));
        return;
    }
    fflush(stdout);
    snprintf(command, sizeof command, "cat /proc/%d/task/*/status | grep '^[UG]id' | sort -u",
             (int)getpid());
    if (system(command) != 0)
        printf("no answer\n");
}

/* libc aborts a program in which one thread may change its user and another may not. */
static void kept_capabilities(void) {
    for (int i = 0; i < 20; i++)
        say("keep", prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    say("setuid", setresuid(65534, 65534, 65534));
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct all[2];
    say("capget", (int)syscall(SYS_capget, &header, all));
    all[0].effective = all[0].permitted;
    say("capset", capset(&header, all));
    say("setuid", setresuid(65533, 65533, 65533));
    work();
    say("no new rights", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    say_if_not_back();
}

/* A filter that ends whoever makes a thread. */
static void filtered(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {COUNT(program), program};
    say("no new rights", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (is_preloaded() && !has_own_threads())
        printf("the library's threads are not back\n");
    say("filter", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0));
    say("keep", prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    unshare_and_say(CLONE_NEWNS);
    work();
}

#define ALLOWED(call)                                                                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1),                                         \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define ADVICE(advice)                                                                             \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, advice, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* As strict as the filter of a ssh server: no files, no threads, no signals, of advice only what
 * libc's own malloc gives. Whoever does anything else is ended. */
static void confine(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOWED(brk),
        ALLOWED(mmap),
        ALLOWED(munmap),
        ALLOWED(mremap),
        ALLOWED(mprotect),
        ALLOWED(getpid),
        ALLOWED(clock_gettime),
        ALLOWED(futex),
        ALLOWED(read),
        ALLOWED(write),
        ALLOWED(getrandom),
        ALLOWED(rt_sigprocmask),
        ALLOWED(exit),
        ALLOWED(exit_group),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        ADVICE(MADV_NORMAL),
        ADVICE(MADV_DONTNEED),
        ADVICE(MADV_FREE),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog filter = {COUNT(program), program};
    say("question", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0));
    say("no new rights", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    fflush(stdout);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0)
        _exit(4);
}

/* Long enough for a thread to be due, with objects of all sizes that come, grow, move and go. */
static void work_confined(void) {
    enum { MOST = 400 };
    static char *kept[MOST];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long end_ms = now.tv_sec * 1000 + now.tv_nsec / 1000000 + 100;
    for (unsigned i = 0; now.tv_sec * 1000 + now.tv_nsec / 1000000 < end_ms; i++) {
        char **at = &kept[i * 7919u % MOST];
        if (i % 3 == 0) {
            free(*at);
            *at = NULL;
        }
        *at = realloc(*at, 16u << i % 17);
        if (i % 1000 == 0)
            free(realloc(malloc(4u << 20), 9u << 20));
        clock_gettime(CLOCK_MONOTONIC, &now);
    }
    for (int i = 0; i < MOST; i++)
        free(kept[i]);
}

static void confined(void) {
    confine();
    work_confined();
    static const char text[] = "worked\n";
    (void)!write(1, text, sizeof text - 1);
    exit(7);
}

/* A thread of ours would be outside of the sandbox: a process that could still look finds none, and
 * finds its box gone. */
static void confined_watched(void) {
    int pipes[2];
    if (pipe(pipes) != 0)
        exit(4);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (is_preloaded() && !has_tasks(2)) /* the server stays with the parent */
            printf("the library's thread is not there\n");
        confine();
        work_confined();
        char byte = 0;
        (void)!write(pipes[1], &byte, 1);
        for (;;)
            (void)!read(pipes[0], NULL, 0);
    }
    char byte, path[64];
    struct stat facts;
    (void)!read(pipes[0], &byte, 1);
    snprintf(path, sizeof path, "/proc/%d/task", (int)child);
    say("look", stat(path, &facts));
    printf("%d tasks\n", (int)facts.st_nlink - 2);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void confined_child(void) {
    for (int i = 0; i < 5; i++) {
        int status = -1;
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            confine();
            work_confined();
            _exit(i);
        }
        waitpid(child, &status, 0);
        printf("child: exit %d, signal %d\n", WEXITSTATUS(status), WTERMSIG(status));
        work();
    }
}

static void repeated(void) {
    for (int i = 0; i < 50; i++) {
        int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
        if (setns(fd, CLONE_NEWNS) != 0)
            say("setns", -1);
        close(fd);
        work();
    }
    say_if_not_back();
}

#define ROLE(name)                                                                                 \
    { #name, name }
static const struct {
    const char *name;
    void (*run)(void);
} roles[] = {
    ROLE(unshare_user),   ROLE(unshare_user_late), ROLE(unshare_mount),     ROLE(unshare_files),
    ROLE(unshare_pid),    ROLE(unshare_vm),        ROLE(unshare_nonsense),  ROLE(setns_user),
    ROLE(setns_mount),    ROLE(setns_net),         ROLE(setns_nonsense),    ROLE(threads),
    ROLE(vfork_child),    ROLE(handler),           ROLE(credentials),       ROLE(kept_capabilities),
    ROLE(filtered),       ROLE(repeated),          ROLE(handler_in_malloc), ROLE(confined),
    ROLE(confined_child), ROLE(confined_watched),
};

int main(int count, char **arguments) {
    if (is_preloaded() && !has_own_threads())
        return 2;
    for (size_t i = 0; count > 1 && i < COUNT(roles); i++)
        if (strcmp(arguments[1], roles[i].name) == 0) {
            roles[i].run();
            return 0;
        }
    return 3;
}
