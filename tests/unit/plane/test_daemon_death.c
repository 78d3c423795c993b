/* SPDX-License-Identifier: Apache-2.0
 *
 * How a process ended: control groups of both versions made of plain files, wait statuses, and the
 * sentence that is made of them. And /proc, with names that lie.
 */
#include "base/attr.h"
#include "daemon/death.h"
#include "daemon/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1ull << 20)

/* ---- a tree of groups ---- */

static char root[64];

static int make_root(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/mallardd-cgroup-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int remove_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

static void put(const char *folder, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void group_at(const char *path, bool version_1, struct cgroup *ret) {
    char folder[256];
    snprintf(folder, sizeof folder, "%s%s", root, path);
    *ret = (struct cgroup){.path = strdup(path), .folder = strdup(folder), .version_1 = version_1};
}

static void test_version_2(void **state) {
    (void)state;
    struct cgroup cgroup;
    struct cgroup_memory memory;
    char path[PATH_MAX];
    put("a", "memory.max", "536870912\n");
    put("a", "memory.current", "536866816\n");
    put("a", "memory.peak", "536870912\n");
    put("a/b", "memory.max", "max\n");
    put("a/b", "memory.current", "1000\n");
    put("a/b", "memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n");
    group_at("/a/b", false, &cgroup);
    cgroup_memory_read(&cgroup, &memory);
    assert_int_equal(memory.oom_kills, 2);
    assert_int_equal(memory.max_bytes, 512 * MIB);
    assert_int_equal(memory.current_bytes, 536866816);
    assert_int_equal(memory.levels_up, 1);
    cgroup_path_above(&cgroup, memory.levels_up, path);
    assert_string_equal(path, "/a");
    cgroup_path_above(&cgroup, 7, path);
    assert_string_equal(path, "/");
    put("a/b", "memory.max", "1048576\n");
    cgroup_memory_read(&cgroup, &memory);
    assert_int_equal(memory.max_bytes, MIB);
    assert_int_equal(memory.current_bytes, 1000);
    assert_int_equal(memory.peak_bytes, CGROUP_UNKNOWN);
    assert_int_equal(memory.levels_up, 0);
    cgroup_free(&cgroup);
}

static void test_version_1(void **state) {
    (void)state;
    struct cgroup cgroup;
    struct cgroup_memory memory;
    put("c", "memory.limit_in_bytes", "9223372036854771712\n");
    put("c", "memory.usage_in_bytes", "4096\n");
    put("c", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
    group_at("/c", true, &cgroup);
    cgroup_memory_read(&cgroup, &memory);
    assert_int_equal(memory.oom_kills, 5);
    assert_int_equal(memory.max_bytes, CGROUP_UNKNOWN);
    assert_int_equal(memory.current_bytes, 4096);
    cgroup_free(&cgroup);
}

static void test_gone(void **state) {
    (void)state;
    struct cgroup cgroup;
    struct cgroup_memory memory;
    group_at("/nowhere", false, &cgroup);
    cgroup_memory_read(&cgroup, &memory);
    assert_int_equal(memory.oom_kills, CGROUP_UNKNOWN);
    assert_int_equal(memory.max_bytes, CGROUP_UNKNOWN);
    cgroup_free(&cgroup);
    cgroup_memory_read(&(struct cgroup){.path = NULL}, &memory);
    assert_int_equal(memory.current_bytes, CGROUP_UNKNOWN);
}

/* ---- which group ---- */

static const char hybrid[] =
    "25 30 0:22 / /sys rw,nosuid - sysfs sysfs rw\n"
    "31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 25 0:28 / /sys/fs/cgroup/mem\\040ory rw shared:9 - cgroup cgroup rw,memory\n"
    "33 25 0:29 / /sys/fs/cgroup/unified rw,nosuid shared:8 - cgroup2 cgroup2 rw,nsdelegate\n";

static void test_mounts(void **state) {
    (void)state;
    struct cgroup_mounts mounts;
    struct cgroup cgroup;
    cgroup_mounts_parse(hybrid, &mounts);
    assert_string_equal(mounts.memory, "/sys/fs/cgroup/mem ory");
    assert_string_equal(mounts.unified, "/sys/fs/cgroup/unified");
    cgroup_parse(&mounts, "9:cpu,cpuacct:/x\n4:memory:/docker/a\n0::/system.slice/n.service\n",
                 &cgroup);
    assert_true(cgroup.version_1);
    assert_string_equal(cgroup.path, "/docker/a");
    assert_string_equal(cgroup.folder, "/sys/fs/cgroup/mem ory/docker/a");
    assert_string_equal(cgroup.labels.unit, "n.service");
    cgroup_free(&cgroup);
    cgroup_parse(&mounts, "0::/system.slice/n.service\n", &cgroup);
    assert_false(cgroup.version_1);
    assert_string_equal(cgroup.folder, "/sys/fs/cgroup/unified/system.slice/n.service");
    cgroup_free(&cgroup);
}

static void test_partial_mount(void **state) {
    (void)state;
    struct cgroup_mounts mounts;
    struct cgroup cgroup;
    cgroup_mounts_parse("1 1 0:1 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n", &mounts);
    cgroup_parse(&mounts, "0::/docker/abc/inner\n", &cgroup);
    assert_string_equal(cgroup.folder, "/sys/fs/cgroup/inner");
    cgroup_free(&cgroup);
    static const char *const outside[] = {"0::/docker/abcd\n", "0::/../x\n", "0::/\n"};
    for (size_t i = 0; i < MAL_COUNT_OF(outside); i++) {
        cgroup_parse(&mounts, outside[i], &cgroup);
        assert_null(cgroup.folder);
        cgroup_free(&cgroup);
    }
    static const char *const nonsense[] = {"", "\n", "0:", "0::", "x", "0::relative\n"};
    for (size_t i = 0; i < MAL_COUNT_OF(nonsense); i++) {
        cgroup_parse(&mounts, nonsense[i], &cgroup);
        assert_null(cgroup.path);
        cgroup_free(&cgroup);
    }
}

/* ---- the sentence ---- */

#define UNKNOWN_MEMORY                                                                             \
    { CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN, CGROUP_UNKNOWN, 0 }

static char service_path[] = "/system.slice/x.service";
static const struct cgroup service = {.path = service_path};

static void check(const struct death *death, enum keep_death kind, const char *wanted) {
    struct keep_facts facts = {.pid = 1};
    assert_int_equal(death_judge(death, &facts), 0);
    assert_string_equal(facts.sentence, wanted);
    assert_int_equal(facts.death, kind);
    free(facts.sentence);
}

static void test_sentences(void **state) {
    (void)state;
    struct death death = {.cgroup = &service, .before = UNKNOWN_MEMORY, .after = UNKNOWN_MEMORY};
    check(&death, KEEP_DEATH_UNKNOWN, "ended, and nobody could tell how");
    death.known = true;
    death.wait_status = SIGKILL;
    check(&death, KEEP_DEATH_SIGNAL, "killed by SIGKILL");
    death.wait_status = SIGSEGV | 0x80;
    check(&death, KEEP_DEATH_SIGNAL, "killed by SIGSEGV (core dumped)");
    death.wait_status = SIGRTMIN + 3;
    check(&death, KEEP_DEATH_SIGNAL, "killed by SIGRTMIN+3");
    death.wait_status = 33;
    check(&death, KEEP_DEATH_SIGNAL, "killed by signal 33");
    death.wait_status = 3 << 8;
    check(&death, KEEP_DEATH_EXITED, "exited with status 3");
}

static void test_oom(void **state) {
    (void)state;
    struct death death = {.known = true,
                          .wait_status = SIGKILL,
                          .cgroup = &service,
                          .before = {4, 512 * MIB, 500 * MIB, 510 * MIB, 0},
                          .after = {5, 512 * MIB, 1 * MIB, 512 * MIB, 0}};
    check(&death, KEEP_DEATH_OOM,
          "killed by SIGKILL; the OOM killer: cgroup /system.slice/x.service was at 512 MiB of "
          "its limit of 512 MiB (oom_kill rose by 1)");
    death.after.peak_bytes = CGROUP_UNKNOWN;
    death.before.peak_bytes = CGROUP_UNKNOWN;
    check(&death, KEEP_DEATH_OOM,
          "killed by SIGKILL; the OOM killer: cgroup /system.slice/x.service was at 500 MiB of "
          "its limit of 512 MiB (oom_kill rose by 1)");
    death.after.levels_up = death.before.levels_up = 1;
    death.after.max_bytes = CGROUP_UNKNOWN;
    check(&death, KEEP_DEATH_OOM,
          "killed by SIGKILL; the OOM killer: the machine ran out of memory, and no limit is set "
          "for cgroup /system.slice/x.service (oom_kill rose by 1)");
    death.wait_status = SIGSEGV;
    check(&death, KEEP_DEATH_SIGNAL, "killed by SIGSEGV");
    death.wait_status = SIGKILL;
    death.after = death.before;
    check(&death, KEEP_DEATH_SIGNAL, "killed by SIGKILL");
    death.after.oom_kills = 0; /* another group by that name */
    check(&death, KEEP_DEATH_SIGNAL, "killed by SIGKILL");
}

static void test_group_gone(void **state) {
    (void)state;
    struct death death = {.known = true,
                          .wait_status = SIGKILL,
                          .cgroup = &service,
                          .before = {0, 64 * MIB, 63 * MIB, 64 * MIB, 0},
                          .after = UNKNOWN_MEMORY};
    struct keep_facts facts = {.pid = 1};
    check(&death, KEEP_DEATH_SIGNAL,
          "killed by SIGKILL; its cgroup /system.slice/x.service is gone, and was last seen at "
          "63 MiB of its limit of 64 MiB");
    assert_int_equal(death_judge(&death, &facts), 0);
    assert_int_equal(facts.memory_max_bytes, 64 * MIB);
    assert_int_equal(facts.signal, SIGKILL);
    free(facts.sentence);
    death.before.max_bytes = CGROUP_UNKNOWN; /* of no limit nothing can be told */
    assert_false(death_may_be_oom(&death));
    check(&death, KEEP_DEATH_SIGNAL, "killed by SIGKILL");
}

/* ---- the kernel's log ---- */

/* Two were killed in one group, and the killer came once. */
static void test_oom_by_log(void **state) {
    (void)state;
    struct death death = {.known = true,
                          .wait_status = SIGKILL,
                          .cgroup = &service,
                          .log = KERNEL_LOG_SPARED,
                          .before = {4, 512 * MIB, 500 * MIB, 510 * MIB, 0},
                          .after = {5, 512 * MIB, 1 * MIB, 512 * MIB, 0}};
    assert_true(death_may_be_oom(&death));
    check(&death, KEEP_DEATH_SIGNAL,
          "killed by SIGKILL; not by the OOM killer, which killed another process of cgroup "
          "/system.slice/x.service");
    death.log = KERNEL_LOG_KILLED;
    death.after = (struct cgroup_memory)UNKNOWN_MEMORY;
    assert_true(death_may_be_oom(&death));
    check(&death, KEEP_DEATH_OOM,
          "killed by SIGKILL; the OOM killer: cgroup /system.slice/x.service was at 510 MiB of "
          "its limit of 512 MiB (says the kernel's log)");
    death.log = KERNEL_LOG_SPARED;
    check(&death, KEEP_DEATH_SIGNAL, "killed by SIGKILL");
    death.wait_status = SIGTERM;
    death.log = KERNEL_LOG_KILLED;
    assert_false(death_may_be_oom(&death));
    check(&death, KEEP_DEATH_SIGNAL, "killed by SIGTERM");
}

static void test_log_records(void **state) {
    (void)state;
    struct kernel_log log = {.fd = -1};
    static const char *const others[] = {
        "",
        ";",
        "Killed process 7 (x)",
        "6,1,2,-;leak invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0\n",
        "14,1,2,-;Out of memory: Killed process 7 (a program wrote this)\n",
        "3,1;Out of memory: Killed process 7 (no time)\n",
        "3,1,2,-;Killed process [7]: segfault at 0\n",
        "3,1,2,-;Memory cgroup out of memory: Killed process \n",
        "6,1,2,-;oom-kill:task_memcg=/u/Out of memory: Killed process 7 (x),task=y,pid=8,uid=0\n",
        "6,1,2,-;Memory cgroup stats for /u/Killed process 7 (x): anon 1\n",
        "3,1,2,-;Out of memory and no killable processes: Killed process 7 (x)\n",
    };
    for (size_t i = 0; i < MAL_COUNT_OF(others); i++)
        kernel_log_note(&log, others[i], 0);
    assert_int_equal(log.count, 0);
    kernel_log_note(&log,
                    "3,1042,83646854475,-;Memory cgroup out of memory: Killed process 4981 "
                    "(leak) total-vm:90000kB, anon-rss:65000kB\n SUBSYSTEM=x\n",
                    5000);
    kernel_log_note(&log, "3,1043,5,-,caller=T1;Out of memory: Killed process 12 (a (b) c) x\n", 0);
    kernel_log_note(&log, "3,1044,6,-;Killed process 13 (old) total-vm:1kB\n", 0);
    assert_int_equal(log.count, 3);
    assert_int_equal(log.victims[0].pid, 4981);
    assert_int_equal(log.victims[0].boot_ns, 83646854475000 + 5000);
    assert_int_equal(log.victims[1].pid, 12);
    assert_int_equal(log.victims[2].pid, 13);
    assert_int_equal(kernel_log_ask(&log, 4981, 1), KERNEL_LOG_SILENT);
    log.fd = open("/dev/null", O_RDONLY);
    kernel_log_turn(&log);
    assert_int_equal(kernel_log_ask(&log, 4981, 1), KERNEL_LOG_KILLED);
    assert_int_equal(kernel_log_ask(&log, 0, 1), KERNEL_LOG_SILENT);
    assert_int_equal(kernel_log_ask(&log, 4982, 1), KERNEL_LOG_SPARED);
    uint64_t later_ticks = 83650ull * (uint64_t)sysconf(_SC_CLK_TCK);
    assert_int_equal(kernel_log_ask(&log, 4981, later_ticks), KERNEL_LOG_SPARED);
    log.has_gaps = true;
    assert_int_equal(kernel_log_ask(&log, 4982, 1), KERNEL_LOG_SILENT);
    for (unsigned i = 0; i < 2 * KERNEL_LOG_VICTIMS; i++)
        kernel_log_note(&log, "3,1,5,-;Out of memory: Killed process 99 (x)\n", 0);
    assert_int_equal(kernel_log_ask(&log, 99, 0), KERNEL_LOG_KILLED);
    assert_int_equal(kernel_log_ask(&log, 4981, 1), KERNEL_LOG_SILENT);
    kernel_log_close(&log);
    assert_int_equal(log.fd, -1);
}

/* What the kernel says when records were overwritten. */
static bool next_read_has_gap;

ssize_t read(int fd, void *data, size_t bytes) {
    if (next_read_has_gap) {
        next_read_has_gap = false;
        errno = EPIPE;
        return -1;
    }
    return syscall(SYS_read, fd, data, bytes);
}

/* A record a packet, as the kernel gives them. */
static void log_of(const char *const records[], size_t count, struct kernel_log *ret_log) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_DIRECT | O_NONBLOCK), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(write(ends[1], records[i], strlen(records[i])), strlen(records[i]));
    *ret_log = (struct kernel_log){.fd = ends[0]};
    close(ends[1]);
}

static void test_log_flood(void **state) {
    (void)state;
    static const char *const records[] = {
        "12,1,5,-;one of a flood\n",
        "12,2,5,-;one of a flood\n",
        "12,3,5,-;one of a flood\n",
        "3,4,83646854475,-;Out of memory: Killed process 4981 (leak)\n",
    };
    struct kernel_log log;
    log_of(records, MAL_COUNT_OF(records), &log);
    log.left = 2;
    assert_int_equal(kernel_log_ask(&log, 4981, 1), KERNEL_LOG_BEHIND);
    assert_int_equal(kernel_log_ask(&log, 4981, 1), KERNEL_LOG_BEHIND);
    assert_int_equal(log.left, 0);
    assert_int_equal(log.count, 0);
    kernel_log_turn(&log);
    assert_true(log.left > MAL_COUNT_OF(records));
    assert_int_equal(kernel_log_ask(&log, 4981, 1), KERNEL_LOG_KILLED);
    assert_int_equal(kernel_log_ask(&log, 4982, 1), KERNEL_LOG_SPARED);
    log.left = 0;
    assert_int_equal(kernel_log_ask(&log, 4981, 1), KERNEL_LOG_KILLED);
    kernel_log_turn(&log);
    next_read_has_gap = true;
    assert_int_equal(kernel_log_ask(&log, 4982, 1), KERNEL_LOG_SILENT);
    assert_int_equal(kernel_log_ask(&log, 4982, 1), KERNEL_LOG_SILENT);
    assert_int_equal(kernel_log_ask(&log, 4981, 1), KERNEL_LOG_KILLED);
    kernel_log_close(&log);
}

/* ---- the status of a process that is not ours to wait for ---- */

static pid_t start_child(int signal_number, int status) {
    pid_t pid = fork();
    if (pid == 0) {
        if (signal_number != 0)
            kill(getpid(), signal_number);
        _exit(status);
    }
    return pid;
}

static void test_zombie(void **state) {
    (void)state;
    siginfo_t info;
    struct proc_stat stat;
    pid_t pid = start_child(SIGKILL, 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(proc_stat_read((uint32_t)pid, &stat), 0);
    assert_true(stat.zombie);
    assert_int_equal(stat.wait_status, SIGKILL);
    assert_true(
        proc_maps_file((uint32_t)pid, 1)); /* it maps nothing any more: no news of its box */
    waitpid(pid, NULL, 0);
    pid = start_child(0, 3);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(proc_stat_read((uint32_t)pid, &stat), 0);
    assert_int_equal(stat.wait_status, 3 << 8);
    waitpid(pid, NULL, 0);
    assert_int_equal(proc_stat_read((uint32_t)pid, &stat), -ENOENT);
}

static void test_pidfd(void **state) {
    (void)state;
    siginfo_t info;
    int status = 0;
    pid_t pid = start_child(SIGKILL, 0);
    int fd = pidfd_open(pid, 0);
    assert_true(fd >= 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    int before = death_of_pidfd(fd, &status);
    waitpid(pid, NULL, 0);
    int after = death_of_pidfd(fd, &status);
    close(fd);
    if (after == -ENOTSUP)
        skip();
    assert_int_equal(before, -EAGAIN);
    assert_int_equal(after, 0);
    assert_int_equal(status, SIGKILL);
}

/* ---- names that lie ---- */

static void test_stat_text(void **state) {
    (void)state;
    struct proc_stat stat;
    assert_int_equal(proc_stat_parse("7 (a) Z 1) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 1 18 "
                                     "4711 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 "
                                     "38 39 40 41 42 43 44 45 46 47 48 9\n",
                                     &stat),
                     0);
    assert_int_equal(stat.start_ticks, 4711);
    assert_false(stat.zombie);
    assert_int_equal(stat.wait_status, 9);
    static const char *const bad[] = {"", ")", "7 (x", "7 (x) S 1 2 3", "7 (x) S a b"};
    for (size_t i = 0; i < MAL_COUNT_OF(bad); i++)
        assert_true(proc_stat_parse(bad[i], &stat) < 0);
}

static void test_status_text(void **state) {
    (void)state;
    struct proc_status status;
    assert_int_equal(proc_status_parse("Name:\tUid:\\n\nPid:\t9\nUid:\t1\t2\t3\t4\n"
                                       "NSpid:\t4242\t17\t1\nVmPeak:\t1\n",
                                       &status),
                     0);
    assert_int_equal(status.uid[0], 1);
    assert_int_equal(status.uid[3], 4);
    assert_int_equal(status.inner_pid, 1);
    assert_int_equal(proc_status_parse("Name:\tx\nUid:\t0\t0\t0\t0\nNSpid:\t77\n", &status), 0);
    assert_int_equal(status.inner_pid, 77);
    assert_true(proc_status_parse("Name:\tx\n", &status) < 0);
}

static void test_self(void **state) {
    (void)state;
    struct proc_list list;
    struct proc_stat self;
    assert_int_equal(proc_stat_read((uint32_t)getpid(), &self), 0);
    assert_int_equal(proc_list_read(&list), 0);
    struct proc_status status;
    assert_int_equal(proc_status_read((uint32_t)getpid(), &status), 0);
    assert_int_equal(proc_list_find(&list, status.inner_pid, self.start_ticks), getpid());
    assert_int_equal(proc_list_find(&list, status.inner_pid, self.start_ticks + 1), 0);
    proc_list_free(&list);
    assert_false(proc_has_own_root((uint32_t)getpid()));
    struct stat file;
    assert_int_equal(stat("/proc/self/exe", &file), 0);
    assert_true(proc_maps_file((uint32_t)getpid(), file.st_ino));
    assert_false(proc_maps_file((uint32_t)getpid(), UINT64_MAX));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_2),     cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_gone),          cmocka_unit_test(test_mounts),
        cmocka_unit_test(test_partial_mount), cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_oom),           cmocka_unit_test(test_group_gone),
        cmocka_unit_test(test_oom_by_log),    cmocka_unit_test(test_log_records),
        cmocka_unit_test(test_log_flood),     cmocka_unit_test(test_zombie),
        cmocka_unit_test(test_pidfd),         cmocka_unit_test(test_stat_text),
        cmocka_unit_test(test_status_text),   cmocka_unit_test(test_self),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
