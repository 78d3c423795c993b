/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose the other end of a connection is, over every kind of socket that the server listens on,
 * and for clients that try not to be themselves.
 */
#include "http/listen.h"
#include "http/peer.h"
#include "http/source.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define OTHER_UID 4711u
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct pair {
    int listener, client, accepted;
};

static void pair_close(struct pair *pair) {
    close(pair->listener);
    if (pair->client >= 0)
        close(pair->client);
    if (pair->accepted >= 0)
        close(pair->accepted);
}

static int listen_at(const char *address, struct http_endpoint *ret_endpoint) {
    char problem[HTTP_PROBLEM_BYTES];
    int fd = -1;
    if (http_endpoint_parse(address, ret_endpoint, problem) < 0 ||
        http_endpoint_listen(ret_endpoint, &fd, problem) < 0)
        fail_msg("%s", problem);
    fcntl(fd, F_SETFL, 0);
    return fd;
}

static int connect_to(const struct http_endpoint *endpoint) {
    int fd = socket(endpoint->address.ss_family, SOCK_STREAM, 0);
    if (connect(fd, (const struct sockaddr *)&endpoint->address, endpoint->address_bytes) == 0)
        return fd;
    close(fd);
    return -1;
}

/* An endpoint with the port of another. */
static struct http_endpoint same_port(const char *address, const struct http_endpoint *other) {
    struct http_endpoint endpoint;
    char problem[HTTP_PROBLEM_BYTES];
    assert_int_equal(http_endpoint_parse(address, &endpoint, problem), 0);
    /* the port lies at the same place in both families */
    ((struct sockaddr_in *)&endpoint.address)->sin_port =
        ((const struct sockaddr_in *)&other->address)->sin_port;
    return endpoint;
}

static struct pair pair_of(const char *listens, const char *connects) {
    struct http_endpoint endpoint;
    struct pair pair = {.listener = listen_at(listens, &endpoint)};
    struct http_endpoint target = connects != NULL ? same_port(connects, &endpoint) : endpoint;
    pair.client = connect_to(&target);
    assert_true(pair.client >= 0);
    pair.accepted = accept(pair.listener, NULL, NULL);
    assert_true(pair.accepted >= 0);
    return pair;
}

static uint32_t uid_of(int fd) {
    uint32_t uid;
    assert_int_equal(http_peer_uid(fd, &uid), 0);
    return uid;
}

static const struct {
    const char *listens, *connects; /* NULL: to where it listens */
} ways[] = {
    {"127.0.0.1:0", NULL},
    {"[::1]:0", NULL},
    {":0", "127.0.0.1:0"},
    {":0", "[::1]:0"},
    {"127.0.0.1:0", "[::ffff:127.0.0.1]:0"},
    {":0", "[::ffff:127.0.0.1]:0"},
    {"127.0.0.1:0", "127.0.0.1:0"},
    {"unix:/tmp/mallard-test-peer.sock", NULL},
};

static void test_every_way_to_connect_tells_the_user(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(ways); i++) {
        struct pair pair = pair_of(ways[i].listens, ways[i].connects);
        uint32_t uid = uid_of(pair.accepted);
        if (uid != geteuid())
            fail_msg("%s from %s: uid %u", ways[i].listens,
                     ways[i].connects != NULL ? ways[i].connects : "itself", uid);
        pair_close(&pair);
    }
    unlink("/tmp/mallard-test-peer.sock");
}

/* Connects as another user and stays until `accepted` is closed. */
static void be_other_client(const struct http_endpoint *endpoint) {
    char byte;
    if (setgid(OTHER_UID) != 0 || setuid(OTHER_UID) != 0)
        _exit(1);
    int fd = connect_to(endpoint);
    _exit(fd >= 0 && read(fd, &byte, 1) == 0 ? 0 : 2);
}

static void test_another_user_is_another(void **state) {
    static const char *const addresses[] = {"127.0.0.1:0", "[::1]:0",
                                            "unix:/tmp/mallard-test-peer.sock"};
    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: only root can be another user\n");
        skip();
    }
    for (size_t i = 0; i < COUNT(addresses); i++) {
        struct http_endpoint endpoint = {0};
        char problem[HTTP_PROBLEM_BYTES];
        int fd;
        int status;
        assert_int_equal(http_endpoint_parse(addresses[i], &endpoint, problem), 0);
        endpoint.socket_mode = 0666;
        assert_int_equal(http_endpoint_listen(&endpoint, &fd, problem), 0);
        fcntl(fd, F_SETFL, 0);
        pid_t child = fork();
        if (child == 0)
            be_other_client(&endpoint);
        int accepted = accept(fd, NULL, NULL);
        assert_int_equal(uid_of(accepted), OTHER_UID);
        close(accepted);
        close(fd);
        waitpid(child, &status, 0);
        assert_int_equal(status, 0);
        http_endpoint_remove(&endpoint);
    }
}

/* The kernel reports a closed socket as root's. */
static void test_a_client_that_has_closed_is_nobody(void **state) {
    static const char *const addresses[] = {"127.0.0.1:0", "[::1]:0"};
    (void)state;
    for (size_t i = 0; i < COUNT(addresses); i++) {
        struct pair pair = pair_of(addresses[i], NULL);
        char byte;
        assert_int_equal(send(pair.client, "x", 1, 0), 1);
        close(pair.client);
        pair.client = -1;
        assert_int_equal(recv(pair.accepted, &byte, 1, 0), 1);
        assert_int_equal(recv(pair.accepted, &byte, 1, 0), 0);
        assert_int_equal(uid_of(pair.accepted), HTTP_VIEWER_NOBODY);
        pair_close(&pair);
    }
}

static void test_a_client_that_has_only_ended_its_side_is_itself(void **state) {
    (void)state;
    struct pair pair = pair_of("127.0.0.1:0", NULL);
    char byte;
    shutdown(pair.client, SHUT_WR);
    assert_int_equal(recv(pair.accepted, &byte, 1, 0), 0);
    assert_int_equal(uid_of(pair.accepted), geteuid());
    pair_close(&pair);
}

/* Looking from a network namespace in which the client's socket is not, as a server would that a
 * client from elsewhere could reach. */
static void test_a_client_of_another_network_is_nobody(void **state) {
    (void)state;
    struct pair pair = pair_of("127.0.0.1:0", NULL);
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(unshare(CLONE_NEWNET) != 0 ? 2 : uid_of(pair.accepted) == HTTP_VIEWER_NOBODY ? 0 : 1);
    waitpid(child, &status, 0);
    pair_close(&pair);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) {
        print_message("skipped: no network namespace may be made here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

static void test_what_is_no_connection_is_nobody(void **state) {
    struct http_endpoint endpoint;
    int fd = open("/dev/null", O_RDONLY);
    int listener = listen_at("127.0.0.1:0", &endpoint);
    (void)state;
    assert_int_equal(uid_of(fd), HTTP_VIEWER_NOBODY);
    assert_int_equal(uid_of(listener), HTTP_VIEWER_NOBODY);
    assert_int_equal(uid_of(-1), HTTP_VIEWER_NOBODY);
    close(fd);
    close(listener);
}

static void test_without_descriptors_nobody_is_taken_for_nobody(void **state) {
    struct rlimit before;
    uint32_t uid = 0;
    struct pair pair = pair_of("127.0.0.1:0", NULL);
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {3, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int error = http_peer_uid(pair.accepted, &uid);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(error, -EMFILE);
    assert_int_equal(uid, HTTP_VIEWER_NOBODY);
    assert_int_equal(uid_of(pair.accepted), geteuid());
    pair_close(&pair);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_way_to_connect_tells_the_user),
        cmocka_unit_test(test_another_user_is_another),
        cmocka_unit_test(test_a_client_that_has_closed_is_nobody),
        cmocka_unit_test(test_a_client_that_has_only_ended_its_side_is_itself),
        cmocka_unit_test(test_a_client_of_another_network_is_nobody),
        cmocka_unit_test(test_what_is_no_connection_is_nobody),
        cmocka_unit_test(test_without_descriptors_nobody_is_taken_for_nobody),
    };
    alarm(60); /* a connection that never comes */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
