/* SPDX-License-Identifier: Apache-2.0
 *
 * The server over real sockets: life and end, who is let in, what one client cannot do to another,
 * and what the program around it may do to its descriptors.
 */
#include "http/server.h"
#include "support/box_fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ANSWER_BYTES 65536

static struct box_fixture *box;
static struct http_memory_source memory;
static char problem[HTTP_PROBLEM_BYTES];
static _Atomic int threads_begun;

static void count_thread(void) {
    threads_begun++;
}

static struct http_options options_for(const char *address) {
    return (struct http_options){
        .address = address, .source = http_memory_source(&memory), .thread_begin = count_thread};
}

static struct http_server *start(const struct http_options *options) {
    struct http_server *server;
    int error = http_server_start(options, &server, problem);
    if (error < 0)
        fail_msg("%s", problem);
    return server;
}

/* So long a client waits for an answer. Times are compared with what waiting would take, not with
 * what the work takes: machines that test are busy. */
#define PATIENCE_SECONDS 20

static int connect_to(const struct http_server *server) {
    struct http_endpoint endpoint;
    struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    assert_int_equal(http_endpoint_parse(http_server_address(server), &endpoint, problem), 0);
    int fd = socket(endpoint.address.ss_family, SOCK_STREAM, 0);
    assert_int_equal(
        connect(fd, (const struct sockaddr *)&endpoint.address, endpoint.address_bytes), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static void send_text(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Everything until the server closes. */
static size_t receive_all(int fd, char answer[ANSWER_BYTES]) {
    size_t bytes = 0;
    ssize_t got;
    while (bytes < ANSWER_BYTES - 1 &&
           (got = recv(fd, answer + bytes, ANSWER_BYTES - 1 - bytes, 0)) > 0)
        bytes += (size_t)got;
    answer[bytes] = '\0';
    close(fd);
    return bytes;
}

/* One request, one answer; `headers` are further lines of the head. Returns the status. */
static int ask(const struct http_server *server, const char *line, const char *headers,
               char answer[ANSWER_BYTES]) {
    char request[1024];
    int fd = connect_to(server);
    snprintf(request, sizeof request,
             "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", line, headers);
    send_text(fd, request);
    receive_all(fd, answer);
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
}

static int scene_begin(void **state) {
    (void)state;
    box = box_fixture_typical();
    memory = (struct http_memory_source){box_fixture_base(box), box_fixture_bytes(box)};
    threads_begun = 0;
    return 0;
}

static int scene_end(void **state) {
    (void)state;
    box_fixture_free(box);
    return 0;
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- life ---- */

static void test_serves_until_stopped(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    (void)state;
    struct http_server *server = start(&options);
    assert_null(strstr(http_server_address(server), ":0"));
    assert_int_equal(ask(server, "GET /healthz", "", answer), 200);
    assert_non_null(strstr(answer, "\r\n\r\nok\n"));
    assert_int_equal(ask(server, "GET /debug/pprof/heap", "", answer), 200);
    http_server_stop(server);
    assert_int_equal(threads_begun, 3);
    http_server_stop(NULL);
}

/* A source whose answer takes until the test says so. */
static int gate[2];

static int wait_at_gate(void *context, const struct http_ask *one, http_process_visit *visit,
                        void *visit_context) {
    char byte;
    (void)context;
    (void)one;
    (void)visit;
    (void)visit_context;
    return read(gate[0], &byte, 1) == 1 ? -ENOENT : -EIO;
}

static void await_threads(const _Atomic unsigned *threads, unsigned wanted) {
    for (double end = now_s() + 20; atomic_load(threads) != wanted && now_s() < end;)
        usleep(1000);
    assert_int_equal(atomic_load(threads), wanted);
}

static void test_a_stop_that_will_not_wait_for_an_answer(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    static _Atomic unsigned threads;
    (void)state;
    assert_int_equal(pipe(gate), 0);
    options.source.open = wait_at_gate;
    options.threads = &threads;
    struct http_server *server = start(&options);
    assert_int_equal(atomic_load(&threads), 3);
    int fd = connect_to(server);
    send_text(fd, "GET /debug/pprof/heap HTTP/1.1\r\nHost: localhost\r\n\r\n");
    usleep(100000); /* until a worker has it; one that has not ends at once, which is noticed */
    double before = now_s();
    assert_int_equal(http_server_stop_within(server, 50000000), -ETIMEDOUT);
    assert_true(now_s() - before < 10);
    await_threads(&threads, 2); /* the loop waits for the worker */
    assert_int_equal(http_server_stop_within(server, 0), -ETIMEDOUT);
    assert_int_equal(write(gate[1], "", 1), 1);
    assert_int_equal(http_server_stop_within(server, 20000000000u), 0);
    assert_int_equal(atomic_load(&threads), 0);
    assert_int_equal(http_server_stop_within(NULL, 0), 0);
    close(fd);
    close(gate[0]);
    close(gate[1]);
}

/* Numbers that the server gave back are the program's: a child forked before the server is stopped
 * again must not close them. 0: it has not. */
static int forgets_what_it_gave_back(struct http_server *ended) {
    int fds[16];
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = open("/dev/null", O_RDONLY);
    http_server_forget(ended);
    for (size_t i = 0; i < COUNT(fds); i++)
        if (fcntl(fds[i], F_GETFD) < 0)
            return 1;
    return 0;
}

static void test_a_child_leaves_what_an_ended_server_gave_back(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    static _Atomic unsigned threads;
    int status;
    (void)state;
    assert_int_equal(pipe(gate), 0);
    options.source.open = wait_at_gate;
    options.threads = &threads;
    struct http_server *server = start(&options);
    int fd = connect_to(server);
    send_text(fd, "GET /debug/pprof/heap HTTP/1.1\r\nHost: localhost\r\n\r\n");
    usleep(100000); /* until a worker has it; one that has not ends at once, which is noticed */
    assert_int_equal(http_server_stop_within(server, 50000000), -ETIMEDOUT);
    assert_int_equal(write(gate[1], "", 1), 1);
    await_threads(&threads, 0);
    pid_t pid = fork();
    if (pid == 0)
        syscall(SYS_exit_group,
                forgets_what_it_gave_back(server)); /* no sanitizer counts threads */
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(http_server_stop_within(server, 20000000000u), 0);
    close(fd);
    close(gate[0]);
    close(gate[1]);
}

static void test_all_kinds_of_addresses(void **state) {
    static const char *const addresses[] = {"127.0.0.1:0", "[::1]:0", "localhost:0",
                                            "unix:/tmp/mallard-test.sock"};
    char answer[ANSWER_BYTES];
    (void)state;
    for (size_t i = 0; i < COUNT(addresses); i++) {
        struct http_options options = options_for(addresses[i]);
        struct http_server *server = start(&options);
        assert_int_equal(ask(server, "GET /healthz", "", answer), 200);
        http_server_stop(server);
    }
    assert_int_equal(access("/tmp/mallard-test.sock", F_OK), -1);
}

static void test_start_fails_with_a_sentence(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    struct http_server *server;
    (void)state;
    struct http_server *first = start(&options);
    char taken[128];
    snprintf(taken, sizeof taken, "%s", http_server_address(first));
    options = options_for(taken);
    assert_int_equal(http_server_start(&options, &server, problem), -EADDRINUSE);
    assert_non_null(strstr(problem, "Address already in use"));
    http_server_stop(first);
    options = options_for("0.0.0.0:0");
    assert_int_equal(http_server_start(&options, &server, problem), -EACCES);
    assert_non_null(strstr(problem, "needs a token"));
    options.token = "";
    assert_int_equal(http_server_start(&options, &server, problem), -EINVAL);
    options = options_for("nonsense");
    assert_int_equal(http_server_start(&options, &server, problem), -EINVAL);
}

static void test_open_addresses_with_token_or_on_ones_own_word(void **state) {
    struct http_options options = options_for("0.0.0.0:0");
    char answer[ANSWER_BYTES];
    (void)state;
    options.token = "s3cret";
    struct http_server *server = start(&options);
    assert_int_equal(ask(server, "GET /metrics", "", answer), 401);
    assert_non_null(strstr(answer, "WWW-Authenticate: Basic"));
    assert_int_equal(ask(server, "GET /nope", "", answer), 401);
    assert_int_equal(ask(server, "GET /healthz", "", answer), 200);
    assert_int_equal(ask(server, "GET /metrics", "Authorization: Bearer s3cret\r\n", answer), 200);
    assert_int_equal(ask(server, "GET /metrics", "Authorization: Bearer wrong\r\n", answer), 401);
    assert_int_equal(ask(server, "GET /nope", "Authorization: Bearer s3cret\r\n", answer), 404);
    http_server_stop(server);
    options = options_for("0.0.0.0:0");
    options.flags = HTTP_ALLOW_INSECURE;
    server = start(&options);
    assert_int_equal(ask(server, "GET /metrics", "", answer), 200);
    http_server_stop(server);
}

static int count_threads(bool *ret_all_blocked) {
    char path[300];
    char line[256];
    int count = 0;
    *ret_all_blocked = true;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        bool ours = false;
        unsigned long long blocked = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            ours |= strcmp(line, "Name:\tmallard-http\n") == 0;
            sscanf(line, "SigBlk: %llx", &blocked);
        }
        if (file != NULL)
            fclose(file);
        count += ours;
        if (ours && !(blocked & (1ull << (SIGTERM - 1)) && blocked & (1ull << (SIGPIPE - 1))))
            *ret_all_blocked = false;
    }
    closedir(dir);
    return count;
}

static void test_threads_are_named_and_take_no_signals(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    bool all_blocked;
    char answer[ANSWER_BYTES];
    (void)state;
    struct http_server *server = start(&options);
    ask(server, "GET /metrics", "", answer);
    for (int i = 0; i < 100 && count_threads(&all_blocked) < 3; i++)
        usleep(10000);
    assert_int_equal(count_threads(&all_blocked), 3);
    assert_true(all_blocked);
    http_server_stop(server);
    assert_int_equal(count_threads(&all_blocked), 0);
}

/* ---- clients and each other ---- */

static void test_a_waiting_delta_holds_nobody_up(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    int waiting[8], parked[8];
    (void)state;
    struct http_server *server = start(&options);
    for (size_t i = 0; i < COUNT(parked); i++) {
        parked[i] = connect_to(server);
        send_text(parked[i],
                  "GET /debug/pprof/heap?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask(server, "GET /debug/pprof/heap", "", answer), 200);
    double begin = now_s();
    for (size_t i = 0; i < COUNT(waiting); i++) {
        waiting[i] = connect_to(server);
        send_text(waiting[i], "GET /debug/pprof/heap?seconds=2 HTTP/1.1\r\nHost: localhost\r\n"
                              "Connection: close\r\n\r\n");
    }
    for (size_t i = 0; i < COUNT(waiting); i++) {
        receive_all(waiting[i], answer);
        assert_non_null(strstr(answer, "filename=\"heap-delta\""));
    }
    assert_true(now_s() - begin >= 2.0);
    assert_true(now_s() - begin < 2.0 * COUNT(waiting)); /* not one after the other */
    http_server_stop(server);
    for (size_t i = 0; i < COUNT(parked); i++)
        close(parked[i]);
}

static void test_stop_does_not_wait_for_deltas(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    (void)state;
    struct http_server *server = start(&options);
    int waiting = connect_to(server);
    int gone = connect_to(server);
    send_text(waiting, "GET /debug/pprof/heap?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    send_text(gone, "GET /debug/pprof/heap?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(ask(server, "GET /metrics", "", answer), 200);
    close(gone);
    double begin = now_s();
    http_server_stop(server);
    assert_true(now_s() - begin < PATIENCE_SECONDS);
    receive_all(waiting, answer);
    assert_int_equal(strncmp(answer, "HTTP/1.1 503 ", 13), 0);
}

#define WAITING_MAX 48 /* of which the server lets so many wait */

/* Clients that wait for long, and those that found no room. */
struct crowd {
    struct pollfd client[WAITING_MAX + 64];
    size_t count;
};

static bool somebody_is_answered(struct crowd *crowd) {
    return poll(crowd->client, crowd->count, 20) > 0;
}

/* One more client at a time until one is refused: then all places are taken by the others. */
static void fill(const struct http_server *server, struct crowd *crowd) {
    char answer[ANSWER_BYTES];
    crowd->count = 0;
    do {
        assert_true(crowd->count < COUNT(crowd->client));
        int fd = connect_to(server);
        send_text(fd, "GET /debug/pprof/heap?seconds=600 HTTP/1.1\r\nHost: localhost\r\n"
                      "Connection: close\r\n\r\n");
        crowd->client[crowd->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    } while (!somebody_is_answered(crowd));
    assert_true(crowd->count > WAITING_MAX);
    for (size_t i = 0; i < crowd->count; i++)
        if (crowd->client[i].revents != 0) {
            assert_true(recv(crowd->client[i].fd, answer, sizeof answer, 0) > 0);
            assert_int_equal(strncmp(answer, "HTTP/1.1 503 ", 13), 0);
        }
}

static void disperse(const struct crowd *crowd) {
    for (size_t i = 0; i < crowd->count; i++)
        close(crowd->client[i].fd);
}

static void test_too_many_waiting_requests_are_refused(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    struct crowd crowd;
    (void)state;
    struct http_server *server = start(&options);
    fill(server, &crowd);
    assert_int_equal(ask(server, "GET /debug/pprof/heap?seconds=1", "", answer), 503);
    assert_int_equal(ask(server, "GET /metrics", "", answer), 200); /* which does not wait */
    assert_int_equal(ask(server, "GET /debug/pprof/heap", "", answer), 200);
    disperse(&crowd);
    http_server_stop(server);
}

static void test_a_client_that_left_is_not_waited_for(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    struct crowd crowd;
    int status = 0;
    (void)state;
    struct http_server *server = start(&options);
    fill(server, &crowd);
    int half = crowd.client[0].fd;
    assert_int_equal(shutdown(half, SHUT_WR), 0);
    assert_true(recv(half, answer, sizeof answer, 0) > 0);
    assert_int_equal(strncmp(answer, "HTTP/1.1 500 ", 13), 0);
    disperse(&crowd);
    for (int i = 0; i < 100 && status != 200; i++)
        status = ask(server, "GET /debug/pprof/heap?seconds=1", "", answer);
    assert_int_equal(status, 200);
    http_server_stop(server);
}

static int64_t collect(uint32_t command, int64_t argument, int32_t *ret_error) {
    (void)command;
    (void)argument;
    *ret_error = 0;
    return 0;
}

static void test_a_process_that_does_not_answer_holds_nobody_else_up(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    int asking[4];
    (void)state;
    box_fixture_mailbox(box)->served = 1; /* and nobody looks */
    struct http_server *server = start(&options);
    double begin = now_s();
    for (size_t i = 0; i < COUNT(asking); i++) {
        asking[i] = connect_to(server);
        send_text(asking[i], "GET /debug/pprof/heap?gc=1 HTTP/1.1\r\nHost: localhost\r\n"
                             "Connection: close\r\n\r\n");
    }
    for (int i = 0; i < 10; i++)
        assert_int_equal(ask(server, "GET /debug/pprof/heap", "", answer), 200);
    assert_true(now_s() - begin < 8);
    struct pollfd first = {.fd = asking[0], .events = POLLIN};
    assert_int_equal(poll(&first, 1, 0), 0);
    struct box_server *awake = box_server_start_memory(box, collect);
    for (size_t i = 0; i < COUNT(asking); i++) {
        receive_all(asking[i], answer);
        assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
        assert_null(strstr(answer, "X-Mallard-Note"));
    }
    assert_true(now_s() - begin < 10);
    http_server_stop(server);
    box_server_stop(awake);
}

static size_t allocated_bytes(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* A copy of this profile takes more than 2 MiB. */
static void add_deep_stacks(void) {
    uint64_t pcs[MAL_BOX_DEPTH_MAX];
    for (uint32_t i = 0; i < 4000; i++) {
        for (uint32_t k = 0; k < MAL_BOX_DEPTH_MAX; k++)
            pcs[k] = 0x10000 + ((uint64_t)i * MAL_BOX_DEPTH_MAX + k) * 16;
        uint32_t stack = box_fixture_add_stack(box, pcs, MAL_BOX_DEPTH_MAX);
        box_fixture_add_bucket(box, stack, 64, 1, 1, 0);
    }
}

static void test_who_waits_holds_no_whole_profile(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    struct crowd crowd;
    (void)state;
    add_deep_stacks();
    struct http_server *server = start(&options);
    assert_int_equal(ask(server, "GET /debug/pprof/heap?seconds=1", "", answer), 200);
    size_t before = allocated_bytes();
    fill(server, &crowd);
    assert_true(allocated_bytes() < before + WAITING_MAX * (512u << 10));
    disperse(&crowd);
    http_server_stop(server);
}

/* Of regular files, such as those that symbols come from. */
static size_t open_files(void) {
    char path[300];
    struct stat info;
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        count += stat(path, &info) == 0 && S_ISREG(info.st_mode);
    }
    closedir(folder);
    return count;
}

static void test_files_of_symbols_are_closed_when_nobody_asks(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    (void)state;
    struct http_server *server = start(&options);
    size_t before = open_files();
    assert_int_equal(ask(server, "GET /debug/pprof/heap", "", answer), 200);
    assert_true(open_files() > before);
    int waiting = connect_to(server); /* and does not keep them */
    send_text(waiting, "GET /debug/pprof/heap?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    double begin = now_s();
    while (open_files() > before && now_s() - begin < 20)
        usleep(50000);
    assert_int_equal(open_files(), before);
    close(waiting);
    http_server_stop(server);
}

/* ---- out of descriptors ---- */

/* The first number that is free, which is what a limit must be so that none is. */
static rlim_t lowest_free_fd(void) {
    int fd = dup(0);
    assert_true(fd >= 0);
    close(fd);
    return (rlim_t)fd;
}

static void test_who_comes_while_there_are_no_descriptors_waits(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    struct rlimit before, none;
    (void)state;
    struct http_server *server = start(&options);
    int client = connect_to(server);
    send_text(client, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(recv(client, answer, sizeof answer, 0) > 0);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){lowest_free_fd(), before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct http_endpoint endpoint;
    assert_int_equal(http_endpoint_parse(http_server_address(server), &endpoint, problem), 0);
    assert_int_equal(
        connect(late, (const struct sockaddr *)&endpoint.address, endpoint.address_bytes), 0);
    send_text(late, "GET /healthz HTTP/1.0\r\n\r\n");
    clock_t cpu = clock();
    struct pollfd unanswered = {.fd = late, .events = POLLIN};
    assert_int_equal(poll(&unanswered, 1, 500), 0);
    send_text(client, "GET /healthz HTTP/1.0\r\n\r\n");
    receive_all(client, answer); /* whoever is in is served, and makes room */
    assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
    receive_all(late, answer);
    assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
    assert_true(clock() - cpu < CLOCKS_PER_SEC / 2); /* it does not spin */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    http_server_stop(server);
}

static void test_idle_connections_give_way(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    int idle[600];
    (void)state;
    struct http_server *server = start(&options);
    for (size_t i = 0; i < COUNT(idle); i++)
        idle[i] = connect_to(server);
    double begin = now_s();
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask(server, "GET /debug/pprof/heap", "", answer), 200);
    assert_true(now_s() - begin < PATIENCE_SECONDS);
    for (size_t i = 0; i < COUNT(idle); i++)
        close(idle[i]);
    http_server_stop(server);
}

static void test_one_connection_carries_many_requests(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    (void)state;
    struct http_server *server = start(&options);
    int fd = connect_to(server);
    for (int i = 0; i < 50; i++)
        send_text(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (int i = 0; i < 10; i++)
        send_text(fd, "GET /debug/memstats HTTP/1.1\r\nHost: localhost\r\n\r\n");
    send_text(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    receive_all(fd, answer);
    int answers = 0;
    for (const char *at = answer; (at = strstr(at, "HTTP/1.1 200 OK")) != NULL; at++)
        answers++;
    assert_int_equal(answers, 61);
    http_server_stop(server);
}

/* The end of the client comes with its last bytes, as from `nc -N`. */
static void test_a_client_that_has_ended_is_not_kept(void **state) {
    static const char *const requests[] = {"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
                                           "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
                                           "GET /hea", ""};
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    (void)state;
    struct http_server *server = start(&options);
    double begin = now_s();
    for (size_t i = 0; i < COUNT(requests); i++) {
        int fd = connect_to(server);
        send_text(fd, requests[i]);
        shutdown(fd, SHUT_WR);
        receive_all(fd, answer);
        assert_int_equal(strstr(answer, "HTTP/1.1 200 OK") == answer, i < 2);
    }
    assert_true(now_s() - begin < PATIENCE_SECONDS);
    http_server_stop(server);
}

/* ---- refusals ---- */

static void test_refusals(void **state) {
    static const struct {
        const char *line, *headers;
        int status;
    } cases[] = {
        {"DELETE /debug/pprof/heap", "", 405},
        {"OPTIONS /debug/pprof/heap", "", 405},
        {"POST /debug/mallard/gc", "Origin: http://evil.example\r\nContent-Length: 0\r\n", 403},
        {"POST /debug/mallard/gc", "Sec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n", 403},
        {"POST /debug/mallard/gc", "Origin: http://localhost\r\nContent-Length: 0\r\n", 409},
        {"POST /debug/pprof/symbol", "Content-Length: 1048577\r\n", 413},
        {"POST /debug/pprof/symbol", "Content-Length: 99999999999999999999\r\n", 413},
        {"GET /../../etc/passwd", "", 404},
        {"GET /%2e%2e/%2e%2e/etc/passwd", "", 404},
    };
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    (void)state;
    struct http_server *server = start(&options);
    for (size_t i = 0; i < COUNT(cases); i++) {
        int status = ask(server, cases[i].line, cases[i].headers, answer);
        if (status != cases[i].status && !(cases[i].status == 413 && status == 400))
            fail_msg("%s %s: %d", cases[i].line, cases[i].headers, status);
    }
    http_server_stop(server);
}

static int ask_raw(const struct http_server *server, const char *request, char *answer) {
    int fd = connect_to(server);
    send_text(fd, request);
    shutdown(fd, SHUT_WR);
    receive_all(fd, answer);
    return strncmp(answer, "HTTP/1.", 7) == 0 ? atoi(answer + 9) : 0;
}

static void test_host_header(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    (void)state;
    struct http_server *server = start(&options);
    assert_int_equal(ask_raw(server, "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", answer),
                     403);
    assert_int_equal(ask_raw(server, "GET /healthz HTTP/1.1\r\n\r\n", answer), 400);
    assert_int_equal(ask_raw(server, "GET /healthz HTTP/1.0\r\n\r\n", answer), 200);
    assert_int_equal(ask_raw(server, "GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n", answer),
                     403);
    http_server_stop(server);
}

/* ---- the program around it ---- */

/* ThreadSanitizer knows one table of descriptors per process and takes the same number in two of
 * them for one descriptor. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ONE_TABLE_ONLY 1
#endif
#endif
#ifndef ONE_TABLE_ONLY
#define ONE_TABLE_ONLY 0
#endif

static void skip_where_tables_are_confused(void) {
    if (ONE_TABLE_ONLY)
        skip();
}

static int count_open(void) {
    int count = 0;
    for (int fd = 3; fd < 4096; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static int lowest_free(void) {
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(fd);
    return fd;
}

static void test_a_guest_leaves_the_programs_descriptors_alone(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    (void)state;
    skip_where_tables_are_confused();
    options.flags = HTTP_GUEST;
    int before = count_open();
    int lowest = lowest_free();
    struct http_server *server = start(&options);
    assert_int_equal(count_open(), before);
    assert_int_equal(lowest_free(), lowest);
    for (int fd = 3; fd < 4096; fd++)
        close(fd);
    assert_int_equal(ask(server, "GET /debug/pprof/heap", "", answer), 200);
    http_server_stop(server);
}

/* A pipe of the program must not be kept open by the server. */
static void test_a_guest_holds_no_pipe_open(void **state) {
    struct http_options options = options_for("127.0.0.1:0");
    int pipe_fds[2];
    char byte;
    (void)state;
    skip_where_tables_are_confused();
    assert_int_equal(pipe(pipe_fds), 0);
    options.flags = HTTP_GUEST;
    struct http_server *server = start(&options);
    close(pipe_fds[1]);
    assert_int_equal(read(pipe_fds[0], &byte, 1), 0);
    close(pipe_fds[0]);
    http_server_stop(server);
}

/* From here on close_range answers ENOSYS, as on an old kernel. */
static void forbid_close_range(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(filter), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(77);
}

static double cpu_s(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* 0 when the server answers, keeps low numbers free, and ends quietly when it loses everything. */
static int exposed_guest(void) {
    struct http_options options = options_for("127.0.0.1:0");
    struct http_server *server;
    char answer[ANSWER_BYTES];
    forbid_close_range();
    static _Atomic unsigned threads;
    options.flags = HTTP_GUEST;
    options.threads = &threads;
    if (http_server_start(&options, &server, problem) < 0)
        return 1;
    if (ask(server, "GET /debug/pprof/heap", "", answer) != 200)
        return 2;
    if (count_open() == 0)
        return 3; /* the table is not shared: this tested nothing */
    for (int fd = 3; fd < 4096; fd++)
        close(fd);
    int reused = open("/dev/null", O_RDWR);
    double before = cpu_s();
    usleep(300000);
    if (cpu_s() - before > 0.1)
        return 4;
    for (double end = now_s() + 20; atomic_load(&threads) != 0 && now_s() < end;)
        usleep(1000);
    if (atomic_load(&threads) != 0)
        return 6; /* nobody is left, so nobody is counted */
    http_server_stop(server);
    return fcntl(reused, F_GETFD) >= 0 ? 0 : 5;
}

static void test_a_guest_that_loses_its_descriptors_ends_quietly(void **state) {
    int status;
    (void)state;
    skip_where_tables_are_confused();
    pid_t pid = fork();
    if (pid == 0)
        _exit(exposed_guest());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* 0 when a child of fork can forget the parent's server and start its own. */
static int in_child(struct http_server *parents) {
    struct http_options options = options_for("127.0.0.1:0");
    struct http_server *server;
    char answer[ANSWER_BYTES];
    options.flags = HTTP_GUEST;
    http_server_forget(parents);
    if (http_server_start(&options, &server, problem) < 0)
        return 1;
    if (ask(server, "GET /debug/pprof/heap", "", answer) != 200)
        return 2;
    http_server_stop(server);
    return 0;
}

static void forked_child_has_its_own(unsigned flags) {
    struct http_options options = options_for("127.0.0.1:0");
    char answer[ANSWER_BYTES];
    int status;
    options.flags = flags;
    struct http_server *server = start(&options);
    assert_int_equal(ask(server, "GET /healthz", "", answer), 200);
    pid_t pid = fork();
    if (pid == 0)
        _exit(in_child(server));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(ask(server, "GET /debug/pprof/heap", "", answer), 200);
    http_server_stop(server);
}

static void test_a_forked_child_forgets_and_starts_its_own(void **state) {
    (void)state;
    skip_where_tables_are_confused();
    forked_child_has_its_own(HTTP_GUEST);
    forked_child_has_its_own(0);
}

int main(void) {
#define SCENE(name) cmocka_unit_test_setup_teardown(name, scene_begin, scene_end)
    const struct CMUnitTest tests[] = {
        SCENE(test_serves_until_stopped),
        SCENE(test_a_stop_that_will_not_wait_for_an_answer),
        SCENE(test_a_child_leaves_what_an_ended_server_gave_back),
        SCENE(test_all_kinds_of_addresses),
        SCENE(test_start_fails_with_a_sentence),
        SCENE(test_open_addresses_with_token_or_on_ones_own_word),
        SCENE(test_threads_are_named_and_take_no_signals),
        SCENE(test_a_waiting_delta_holds_nobody_up),
        SCENE(test_stop_does_not_wait_for_deltas),
        SCENE(test_too_many_waiting_requests_are_refused),
        SCENE(test_a_client_that_left_is_not_waited_for),
        SCENE(test_a_process_that_does_not_answer_holds_nobody_else_up),
        SCENE(test_who_waits_holds_no_whole_profile),
        SCENE(test_files_of_symbols_are_closed_when_nobody_asks),
        SCENE(test_who_comes_while_there_are_no_descriptors_waits),
        SCENE(test_idle_connections_give_way),
        SCENE(test_one_connection_carries_many_requests),
        SCENE(test_a_client_that_has_ended_is_not_kept),
        SCENE(test_refusals),
        SCENE(test_host_header),
        SCENE(test_a_guest_leaves_the_programs_descriptors_alone),
        SCENE(test_a_guest_holds_no_pipe_open),
        SCENE(test_a_guest_that_loses_its_descriptors_ends_quietly),
        SCENE(test_a_forked_child_forgets_and_starts_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
