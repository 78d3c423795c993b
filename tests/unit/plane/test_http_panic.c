/* SPDX-License-Identifier: Apache-2.0
 *
 * A library that finds itself broken ends the server, not the program. Its handler and the function
 * that the loop calls are this program's own, which comes first, so it can be broken at will.
 */
#include "http/panic.h"
#include "http/server.h"
#include "support/box_fixture.h"
#include "support/watched.h"
#include "view/buffer.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_S 20

/* AddressSanitizer asks: what a lost thread held stays where it lies. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0";
}

enum place { NOWHERE, ON_THE_LOOP, ON_A_WORKER, AT_THE_START };
static _Atomic int breaks; /* enum place */
static _Atomic unsigned handlers_set;
static MHD_PanicCallback handler;
static void *handler_context;

void MHD_set_panic_func(MHD_PanicCallback callback, void *context) {
    handler = callback;
    handler_context = context;
    handlers_set++;
}

static void break_if(enum place place) {
    if (atomic_load(&breaks) == (int)place)
        handler(handler_context, "there.c", 7, "broken");
}

enum MHD_Result MHD_run(struct MHD_Daemon *daemon) {
    enum MHD_Result (*real)(struct MHD_Daemon *) =
        (enum MHD_Result(*)(struct MHD_Daemon *))dlsym(RTLD_NEXT, "MHD_run");
    break_if(ON_THE_LOOP);
    return real(daemon);
}

const union MHD_DaemonInfo *MHD_get_daemon_info(struct MHD_Daemon *daemon,
                                                enum MHD_DaemonInfoType type, ...) {
    const union MHD_DaemonInfo *(*real)(struct MHD_Daemon *, enum MHD_DaemonInfoType, ...) =
        (const union MHD_DaemonInfo *(*)(struct MHD_Daemon *, enum MHD_DaemonInfoType, ...))dlsym(
            RTLD_NEXT, "MHD_get_daemon_info");
    break_if(AT_THE_START);
    return real(daemon, type);
}

static void metrics_on_a_worker(void *context, struct view_buffer *out) {
    (void)context;
    (void)out;
    break_if(ON_A_WORKER);
}

/* ---- the scene ---- */

static struct box_fixture *box;
static struct http_memory_source memory;
static char problem[HTTP_PROBLEM_BYTES];
static _Atomic unsigned threads;
static char said[1024];

static struct http_options options(void) {
    return (struct http_options){.address = "127.0.0.1:0",
                                 .source = http_memory_source(&memory),
                                 .flags = HTTP_GUEST,
                                 .threads = &threads,
                                 .more_metrics = metrics_on_a_worker};
}

static int scene_begin(void **state) {
    (void)state;
    box = box_fixture_typical();
    memory = (struct http_memory_source){box_fixture_base(box), box_fixture_bytes(box)};
    atomic_store(&breaks, NOWHERE);
    return 0;
}

static int scene_end(void **state) {
    (void)state;
    box_fixture_free(box);
    return 0;
}

/* -1 where nobody listens. */
static int connect_to(const char *address) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

/* The status of the answer, 0 where none came. */
static int ask(const char *address, const char *path) {
    char text[256];
    int fd = connect_to(address);
    if (fd < 0)
        return 0;
    int bytes = snprintf(text, sizeof text,
                         "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    send(fd, text, (size_t)bytes, MSG_NOSIGNAL);
    ssize_t got = recv(fd, text, sizeof text - 1, 0);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return strncmp(text, "HTTP/1.1 ", 9) == 0 ? atoi(text + 9) : 0;
}

static bool all_threads_end(void) {
    static const struct timespec nap = {.tv_nsec = 1000000};
    for (int tries = 0; tries < PATIENCE_S * 1000 && atomic_load(&threads) > 0; tries++)
        nanosleep(&nap, NULL);
    return atomic_load(&threads) == 0;
}

static FILE *listen_to_stderr(int *ret_saved) {
    FILE *file = tmpfile();
    assert_non_null(file);
    *ret_saved = dup(2);
    dup2(fileno(file), 2);
    return file;
}

static void hear(FILE *file, int saved) {
    dup2(saved, 2);
    close(saved);
    rewind(file);
    said[fread(said, 1, sizeof said - 1, file)] = '\0';
    fclose(file);
}

static const char line[] =
    "mallard: the HTTP server ends: libmicrohttpd failed at there.c:7: broken\n";

/* Asks a server that breaks, and stops it: that ends, and nobody is left. ThreadSanitizer counts it
 * as a leak that nobody joins a lost loop's workers, and does not see the library accept. */
static void break_one(enum place place) {
    if (memory_has_a_shadow())
        skip();
    struct http_options how = options();
    struct http_server *server;
    char address[128];
    int saved;
    FILE *file = listen_to_stderr(&saved);
    int error = http_server_start(&how, &server, problem);
    if (error == 0) {
        snprintf(address, sizeof address, "%s", http_server_address(server));
        int before = ask(address, "/metrics");
        atomic_store(&breaks, place);
        int after = ask(address, "/metrics");
        bool ended = all_threads_end();
        int later = connect_to(address);
        http_server_stop(server);
        hear(file, saved);
        assert_int_equal(before, 200);
        assert_int_equal(after, 0);
        assert_true(ended);
        assert_int_equal(later, -1);
    } else {
        hear(file, saved);
    }
    assert_int_equal(error, 0);
    assert_string_equal(said, line);
}

static void on_the_loop_only_the_server_ends(void **state) {
    (void)state;
    break_one(ON_THE_LOOP);
}

static void on_a_worker_only_the_server_ends(void **state) {
    (void)state;
    break_one(ON_A_WORKER);
}

static void at_the_start_there_is_no_server(void **state) {
    (void)state;
    struct http_options how = options();
    struct http_server *server;
    int saved;
    FILE *file = listen_to_stderr(&saved);
    atomic_store(&breaks, AT_THE_START);
    int error = http_server_start(&how, &server, problem);
    hear(file, saved);
    assert_true(error < 0);
    assert_string_equal(said, line);
    assert_int_equal(atomic_load(&threads), 0);
}

/* What the program sets in between is not taken from it. */
static void the_handler_is_set_once(void **state) {
    (void)state;
    struct http_options how = options();
    struct http_server *server;
    for (int starts = 0; starts < 2; starts++) {
        assert_int_equal(http_server_start(&how, &server, problem), 0);
        http_server_stop(server);
    }
    http_panic_install();
    assert_int_equal(atomic_load(&handlers_set), 1);
}

/* The library's own default: the program uses it, too. */
static void on_other_threads_the_program_ends(void **state) {
    (void)state;
    int status = 0;
    http_panic_install();
    pid_t child = fork();
    if (child == 0) {
        freopen("/dev/null", "w", stderr);
        handler(handler_context, "there.c", 7, "broken");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void) {
#define SCENE(name) cmocka_unit_test_setup_teardown(name, scene_begin, scene_end)
    const struct CMUnitTest tests[] = {
        SCENE(on_the_loop_only_the_server_ends),  SCENE(on_a_worker_only_the_server_ends),
        SCENE(at_the_start_there_is_no_server),   SCENE(the_handler_is_set_once),
        SCENE(on_other_threads_the_program_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
