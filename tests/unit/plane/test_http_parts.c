/* SPDX-License-Identifier: Apache-2.0
 *
 * The pure parts of the server: parameters, who may ask, addresses, which connection gives way.
 */
#include "http/connections.h"
#include "http/form.h"
#include "http/guard.h"
#include "http/listen.h"
#include "http/scrapers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- parameters ---- */

static void test_form_is_read_as_go_reads_it(void **state) {
    static const struct {
        const char *query, *name, *value;
    } cases[] = {
        {"seconds=1&seconds=2", "seconds", "1"},
        {"a=1&&b=2", "b", "2"},
        {"seconds=", "seconds", ""},
        {"seconds", "seconds", ""},
        {"a=%31%3", "a", ""},
        {"a=%zz&a=5", "a", "5"},
        {"a=1;b=2", "a", ""},
        {"a=1;b=2&a=3", "a", "3"},
        {"a=x+y%2Bz", "a", "x y+z"},
        {"%61=1", "a", "1"},
        {"a=1%00", "a", ""},
        {"=1&a=2", "a", "2"},
        {"a=b=c", "a", "b=c"},
        {"", "a", ""},
        {"%", "%", ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_form form = {0};
        http_form_parse(&form, cases[i].query, strlen(cases[i].query));
        assert_string_equal(http_form_get(&form, cases[i].name), cases[i].value);
        http_form_free(&form);
    }
}

static void test_form_takes_no_more_than_its_room(void **state) {
    struct http_form form = {0};
    char query[4096] = "";
    (void)state;
    for (int i = 0; i < 500; i++)
        snprintf(query + strlen(query), sizeof query - strlen(query), "k%d=1&", i);
    http_form_parse(&form, query, strlen(query));
    assert_int_equal(form.count, HTTP_FORM_PAIRS_MAX);
    http_form_free(&form);
}

static void test_integers_are_read_as_go_reads_them(void **state) {
    static const struct {
        const char *text;
        int error;
        int64_t value;
    } cases[] = {
        {"1", 0, 1},
        {"+7", 0, 7},
        {"-1", 0, -1},
        {"007", 0, 7},
        {"", -EINVAL, 0},
        {"abc", -EINVAL, 0},
        {"1.5", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"1_000", -EINVAL, 0},
        {"--1", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {"9223372036854775808", -ERANGE, INT64_MAX},
        {"-9223372036854775809", -ERANGE, INT64_MIN},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t value = 99;
        assert_int_equal(http_parse_int(cases[i].text, &value), cases[i].error);
        assert_int_equal(value, cases[i].value);
    }
}

/* ---- who may ask ---- */

static void test_only_loopback_names_pass_as_host(void **state) {
    static const char *const good[] = {"localhost",  "localhost:6060", "LOCALHOST:1",
                                       "127.0.0.1",  "127.9.8.7:80",   "[::1]",
                                       "[::1]:6060", "127.0.0.1:7070"};
    static const char *const bad[] = {"",
                                      "evil.example",
                                      "localhost.evil.example",
                                      "evil.example:6060",
                                      "[::1].evil",
                                      "127.0.0.1.evil",
                                      "127.0.0.1:6060@evil",
                                      "128.0.0.1",
                                      "[::2]",
                                      "localhost:6060a",
                                      "127.1",
                                      "0.0.0.0",
                                      "10.0.0.1",
                                      "127.0.0.1 evil",
                                      "localhost ",
                                      "xlocalhost"};
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(http_host_is_loopback(good[i]));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(http_host_is_loopback(bad[i]));
}

static void test_another_site_is_told_apart(void **state) {
    static const struct {
        struct http_site site;
        bool own;
    } cases[] = {
        {{"localhost:6060", NULL, NULL}, true},
        {{"localhost:6060", "http://localhost:6060", NULL}, true},
        {{"localhost:6060", "http://localhost:6061", NULL}, false},
        {{"localhost:6060", "https://evil.example", NULL}, false},
        {{"localhost:6060", "null", NULL}, false},
        {{"localhost:6060", "", NULL}, false},
        {{NULL, "http://localhost:6060", NULL}, false},
        {{"localhost:6060", NULL, "same-origin"}, true},
        {{"localhost:6060", NULL, "none"}, true},
        {{"localhost:6060", NULL, "cross-site"}, false},
        {{"localhost:6060", NULL, "same-site"}, false},
        {{"localhost:6060", "http://localhost:6060", "cross-site"}, false},
        {{"localhost:6060", "http://localhost:6060.evil.example", NULL}, false},
        {{"localhost:6060", "http://localhost:606", NULL}, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(http_site_is_own(&cases[i].site), cases[i].own);
}

static void test_token_as_bearer_and_as_password(void **state) {
    static const char *const good[] = {"Bearer s3cret", "bearer s3cret", "Basic eDpzM2NyZXQ=",
                                       "Basic OnMzY3JldA=="}; /* x:s3cret, :s3cret */
    static const char *const bad[] = {"",
                                      "s3cret",
                                      "Bearer",
                                      "Bearer ",
                                      "Bearer s3",
                                      "Bearer s3crets",
                                      "Basic",
                                      "Basic !!!!",
                                      "Basic eA==",
                                      "Basic czNjcmV0",
                                      "Digest s3cret",
                                      "Basic eDpzM2NyZXRz",
                                      "Bearer s3cret "};
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(http_token_matches(good[i], "s3cret"));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(http_token_matches(bad[i], "s3cret"));
    assert_false(http_token_matches(NULL, "s3cret"));
}

static void test_long_credentials_are_cut_not_overrun(void **state) {
    char header[8192] = "Basic ";
    (void)state;
    memset(header + 6, 'Q', sizeof header - 7);
    header[sizeof header - 1] = '\0';
    assert_false(http_token_matches(header, "s3cret"));
}

/* ---- addresses ---- */

static void test_addresses(void **state) {
    static const struct {
        const char *text, *back; /* NULL: refused */
        bool local;
    } cases[] = {
        {"127.0.0.1:6060", "127.0.0.1:6060", true},
        {"127.1.2.3:1", "127.1.2.3:1", true},
        {"localhost:6060", "127.0.0.1:6060", true},
        {"[::1]:6060", "[::1]:6060", true},
        {"0.0.0.0:6060", "0.0.0.0:6060", false},
        {":6060", "[::]:6060", false},
        {"[2001:db8::1]:80", "[2001:db8::1]:80", false},
        {"unix:/run/x.sock", "unix:/run/x.sock", true},
        {"unix:relative", NULL, false},
        {"unix:", NULL, false},
        {"6060", NULL, false},
        {"", NULL, false},
        {"127.0.0.1:", NULL, false},
        {"127.0.0.1:65536", NULL, false},
        {"127.0.0.1:6060x", NULL, false},
        {"::1:6060", NULL, false},
        {"[::1:6060", NULL, false},
        {"example.org:80", NULL, false},
        {"[127.0.0.1", NULL, false},
        {"]:80", NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_endpoint endpoint;
        char problem[HTTP_PROBLEM_BYTES] = "";
        char text[128];
        int error = http_endpoint_parse(cases[i].text, &endpoint, problem);
        assert_int_equal(error, cases[i].back != NULL ? 0 : -EINVAL);
        if (error < 0) {
            assert_true(strlen(problem) > 10);
            continue;
        }
        http_endpoint_text(&endpoint, text, sizeof text);
        assert_string_equal(text, cases[i].back);
        assert_int_equal(endpoint.local, cases[i].local);
    }
}

static void test_unix_socket_is_private_and_replaces_a_leftover(void **state) {
    char folder[] = "/tmp/mallard-test-XXXXXX";
    char address[128];
    char problem[HTTP_PROBLEM_BYTES];
    struct http_endpoint endpoint;
    struct stat info;
    int first;
    int second;
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(address, sizeof address, "unix:%s/s", folder);
    assert_int_equal(http_endpoint_parse(address, &endpoint, problem), 0);
    assert_int_equal(http_endpoint_listen(&endpoint, &first, problem), 0);
    assert_int_equal(stat(address + 5, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(http_endpoint_listen(&endpoint, &second, problem), -EADDRINUSE);
    close(first);
    assert_int_equal(http_endpoint_listen(&endpoint, &second, problem), 0);
    http_endpoint_remove(&endpoint);
    assert_int_equal(stat(address + 5, &info), -1);
    close(second);
    rmdir(folder);
}

/* ---- connections ---- */

static int open_pair(struct http_connections *all, struct http_connection **ret_one) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    *ret_one = http_connections_add(all, fds[0]);
    assert_non_null(*ret_one);
    return fds[1];
}

static void close_all(struct http_connections *all, const int *peers, size_t count) {
    for (size_t i = 0; i < count; i++)
        close(peers[i]);
    while (all->count > 0) {
        close(all->slot[0]->fd);
        http_connections_remove(all, all->slot[0]);
    }
}

static void test_the_longest_idle_connection_gives_way(void **state) {
    struct http_connections all = {0};
    struct http_connection *one[HTTP_CONNECTIONS_MAX];
    int peer[HTTP_CONNECTIONS_MAX];
    char byte;
    (void)state;
    for (size_t i = 0; i < COUNT(peer); i++) {
        assert_int_equal(http_connections_make_room(&all), 0);
        peer[i] = open_pair(&all, &one[i]);
        one[i]->since_ns = i + 1;
    }
    http_connection_enter(one[0], HTTP_PHASE_WORKING);
    one[1]->phase = HTTP_PHASE_RESTING;
    assert_int_equal(http_connections_make_room(&all), 0);
    assert_int_equal(one[1]->phase, HTTP_PHASE_CUT);
    assert_int_equal(recv(peer[1], &byte, 1, 0), 0); /* its end is seen */
    assert_int_equal(one[0]->phase, HTTP_PHASE_WORKING);
    assert_int_equal(one[2]->phase, HTTP_PHASE_READING);
    close_all(&all, peer, COUNT(peer));
}

static void test_no_room_when_all_are_busy(void **state) {
    struct http_connections all = {0};
    struct http_connection *one;
    int peer[HTTP_CONNECTIONS_MAX];
    (void)state;
    for (size_t i = 0; i < COUNT(peer); i++) {
        peer[i] = open_pair(&all, &one);
        http_connection_enter(one, HTTP_PHASE_WRITING);
    }
    assert_int_equal(http_connections_make_room(&all), -EBUSY);
    close_all(&all, peer, COUNT(peer));
}

static void test_phases_that_take_too_long_are_cut(void **state) {
    struct http_connections all = {0};
    struct http_connection *fresh;
    struct http_connection *old;
    struct http_connection *working;
    (void)state;
    assert_int_equal(http_connections_expire(&all), -1);
    int peer[] = {open_pair(&all, &fresh), open_pair(&all, &old), open_pair(&all, &working)};
    old->since_ns = 0;
    http_connection_enter(working, HTTP_PHASE_WORKING);
    working->since_ns = 0;
    int next_ms = http_connections_expire(&all);
    assert_in_range(next_ms, 9000, 10001);
    assert_int_equal(old->phase, HTTP_PHASE_CUT);
    assert_int_equal(fresh->phase, HTTP_PHASE_READING);
    assert_int_equal(working->phase, HTTP_PHASE_WORKING);
    close_all(&all, peer, COUNT(peer));
}

/* ---- scrapers ---- */

static struct view_marks *marks_with(size_t count) {
    struct view_marks *marks = calloc(1, sizeof *marks + count * sizeof marks->mark[0]);
    marks->count = count;
    return marks;
}

static struct http_scraper scraper_named(unsigned number) {
    struct http_scraper scraper = {.viewer_uid = 1};
    snprintf(scraper.id, sizeof scraper.id, "%u.1", number);
    return scraper;
}

static void test_scrapers_are_remembered_apart(void **state) {
    struct http_scrapers *scrapers;
    struct http_scraper one = scraper_named(1);
    struct http_scraper others[] = {one, one, scraper_named(2)};
    struct view_marks *marks = marks_with(3);
    struct view_marks *newer = marks_with(4);
    (void)state;
    others[0].viewer_uid = 2;
    snprintf(others[1].name, sizeof others[1].name, "b");
    assert_int_equal(http_scrapers_create(&scrapers), 0);
    http_scrapers_put(scrapers, &one, marks);
    for (size_t i = 0; i < 3; i++)
        assert_null(http_scrapers_take(scrapers, &others[i]));
    assert_ptr_equal(http_scrapers_take(scrapers, &one), marks);
    assert_null(http_scrapers_take(scrapers, &one));
    http_scrapers_put(scrapers, &one, marks);
    http_scrapers_put(scrapers, &one, newer); /* frees the first */
    assert_ptr_equal(http_scrapers_take(scrapers, &one), newer);
    http_scrapers_put(scrapers, &one, newer);
    http_scrapers_destroy(scrapers);
}

static void test_scrapers_that_ask_no_more_are_forgotten(void **state) {
    struct http_scrapers *scrapers;
    size_t half = HTTP_SCRAPERS_BYTES_MAX / sizeof(struct view_mark) / 2;
    struct http_scraper scraper;
    (void)state;
    assert_int_equal(http_scrapers_create(&scrapers), 0);
    for (unsigned i = 0; i <= HTTP_SCRAPERS_MAX; i++) {
        scraper = scraper_named(i);
        http_scrapers_put(scrapers, &scraper, marks_with(1));
    }
    scraper = scraper_named(0);
    assert_null(http_scrapers_take(scrapers, &scraper));
    scraper = scraper_named(1);
    struct view_marks *marks = http_scrapers_take(scrapers, &scraper);
    assert_non_null(marks);
    free(marks);
    for (unsigned i = 1; i <= 2; i++) {
        scraper = scraper_named(i);
        http_scrapers_put(scrapers, &scraper, marks_with(half));
    }
    scraper = scraper_named(1); /* the two together are too much */
    assert_null(http_scrapers_take(scrapers, &scraper));
    scraper = scraper_named(2);
    marks = http_scrapers_take(scrapers, &scraper);
    assert_int_equal(marks->count, half);
    free(marks);
    http_scrapers_put(scrapers, &scraper, marks_with(3 * half)); /* no room for it at all */
    assert_null(http_scrapers_take(scrapers, &scraper));
    http_scrapers_put(NULL, &scraper, marks_with(1));
    assert_null(http_scrapers_take(NULL, &scraper));
    http_scrapers_destroy(scrapers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form_is_read_as_go_reads_it),
        cmocka_unit_test(test_form_takes_no_more_than_its_room),
        cmocka_unit_test(test_integers_are_read_as_go_reads_them),
        cmocka_unit_test(test_only_loopback_names_pass_as_host),
        cmocka_unit_test(test_another_site_is_told_apart),
        cmocka_unit_test(test_token_as_bearer_and_as_password),
        cmocka_unit_test(test_long_credentials_are_cut_not_overrun),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_unix_socket_is_private_and_replaces_a_leftover),
        cmocka_unit_test(test_the_longest_idle_connection_gives_way),
        cmocka_unit_test(test_no_room_when_all_are_busy),
        cmocka_unit_test(test_phases_that_take_too_long_are_cut),
        cmocka_unit_test(test_scrapers_are_remembered_apart),
        cmocka_unit_test(test_scrapers_that_ask_no_more_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
