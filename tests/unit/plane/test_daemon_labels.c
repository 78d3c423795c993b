/* SPDX-License-Identifier: Apache-2.0
 *
 * Control group paths as real machines have them, and what people call the thing in them.
 */
#include "base/attr.h"
#include "daemon/labels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ID "3f4c1a7be9d05c2286d8f04bb7a1c90e6f2d5b8493a7c1e0f8b6d4a29e7c5310"
#define UID "8c1f6a3e-52d4-4b7e-9c0a-1d2e3f405162"
#define UID_ "8c1f6a3e_52d4_4b7e_9c0a_1d2e3f405162"
#define HASH "0123456789abcdef0123456789abcdef"

static const struct {
    const char *path, *unit, *container, *pod;
} table[] = {
    {"/", "", "", ""},
    {"/init.scope", "init.scope", "", ""},
    {"/system.slice/nginx.service", "nginx.service", "", ""},
    {"/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", "", ""},
    {"/system.slice/system-postgresql.slice/postgresql@15-main.service",
     "postgresql@15-main.service", "", ""},
    {"/user.slice/user-1000.slice/session-2.scope", "session-2.scope", "", ""},
    {"/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-4711.scope",
     "app-firefox-4711.scope", "", ""},
    {"/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service",
     "syncthing.service", "", ""},
    {"/docker/" ID, "", ID, ""},
    {"/docker/" ID "/system.slice/cron.service", "cron.service", ID, ""},
    {"/system.slice/docker-" ID ".scope", "", ID, ""},
    {"/system.slice/docker.service", "docker.service", "", ""},
    {"/system.slice/containerd.service", "containerd.service", "", ""},
    {"/system.slice/containerd.service/kubepods-burstable-pod" UID_ ".slice:cri-containerd:" ID,
     "containerd.service", ID, UID},
    {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
     ".slice/cri-containerd-" ID ".scope",
     "", ID, UID},
    {"/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID ".scope", "", ID, UID},
    {"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/docker-" ID
     ".scope",
     "", ID, UID},
    {"/kubepods/burstable/pod" UID "/" ID, "", ID, UID},
    {"/kubepods/pod" HASH "/" ID, "", ID, HASH},
    {"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" UID_ ".slice/cri-containerd-" ID
     ".scope",
     "", ID, UID},
    {"/machine.slice/libpod-" ID ".scope", "", ID, ""},
    {"/machine.slice/libpod-" ID ".scope/container", "", ID, ""},
    {"/machine.slice/libpod-conmon-" ID ".scope", "", "", ""},
    {"/libpod_parent/libpod-" ID, "", ID, ""},
    {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope/container",
     "user@1000.service", ID, ""},
    {"/system.slice/web.service/libpod-payload-" ID, "web.service", ID, ""},
    {"/machine.slice/machine-web.scope/payload/system.slice/sshd.service", "sshd.service", "web",
     ""},
    {"/lxc/web1", "", "web1", ""},
    {"/lxc.payload.web1/system.slice/sshd.service", "sshd.service", "web1", ""},
    {"/ecs/" HASH "/" HASH "-1234567890", "", HASH "-1234567890", ""},
    {"/actions_job/" ID, "", ID, ""},
    {"/garden/4e5f6a7b-1c2d", "", "4e5f6a7b-1c2d", ""},
    {"/../../system.slice/nginx.service", "nginx.service", "", ""},
    /* what only looks like one */
    {"/system.slice/podman.service", "podman.service", "", ""},
    {"/system.slice/tripod-server.service", "tripod-server.service", "", ""},
    {"/docker/short0123", "", "", ""},
    {"/docker/" ID "0", "", "", ""},
    {"//system.slice//x.service//", "x.service", "", ""},
    {"/.service/.scope", "", "", ""},
    {"", "", "", ""},
};

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < MAL_COUNT_OF(table); i++) {
        struct labels labels = {"", "", ""};
        labels_of_cgroup(table[i].path, &labels);
        if (strcmp(labels.unit, table[i].unit) != 0 ||
            strcmp(labels.container, table[i].container) != 0 ||
            strcmp(labels.pod, table[i].pod) != 0)
            fail_msg("%s: unit '%s' container '%s' pod '%s'", table[i].path, labels.unit,
                     labels.container, labels.pod);
    }
}

static void test_first_word_counts(void **state) {
    (void)state;
    struct labels labels = {"", "", ""};
    labels_of_cgroup("/system.slice/a.service", &labels);
    labels_of_cgroup("/docker/" ID "/b.service", &labels);
    assert_string_equal(labels.unit, "a.service");
    assert_string_equal(labels.container, ID);
}

/* Whatever a container's owner names things, no byte is written past a label's end. */
static void test_long(void **state) {
    (void)state;
    static char path[8192];
    struct labels labels = {"", "", ""};
    memset(path, 'x', sizeof path - 1);
    memcpy(path, "/lxc/", 5);
    memcpy(path + 4000, "/pod", 4);
    memcpy(path + sizeof path - 9, ".service", 8);
    labels_of_cgroup(path, &labels);
    assert_int_equal(strlen(labels.container), LABEL_BYTES - 1);
    assert_int_equal(strlen(labels.unit), LABEL_BYTES - 1);
}

static void check_service(const char *unit, const char *exe, const char *wanted) {
    struct labels labels = {"", "", ""};
    char name[LABEL_BYTES];
    snprintf(labels.unit, sizeof labels.unit, "%s", unit);
    labels_service(&labels, exe, name);
    assert_string_equal(name, wanted);
}

static void test_service(void **state) {
    (void)state;
    check_service("nginx.service", "/usr/sbin/nginx", "nginx");
    check_service("session-2.scope", "/usr/bin/vim", "vim");
    check_service("", "/usr/bin/redis-server", "redis-server");
    check_service("", "static", "static");
    check_service(".service", "/bin/x", "x");
    check_service("", "", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_first_word_counts),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
