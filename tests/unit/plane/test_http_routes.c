/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes and providers without a socket: what each target answers, and Go's rules for parameters.
 * A box made by hand is served from memory, a folder of boxes from files.
 */
#include "keep/keep.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/http_scene.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct ask {
    unsigned method;
    const char *target, *body, *body_type;
};

/* All steps of a request but the connection; waits are counted and not waited. */
static void answer(const struct ask *ask, struct http_reply *reply, uint64_t *waited_ms) {
    struct http_request request = {.context = &context, .method = ask->method};
    *reply = (struct http_reply){0};
    *waited_ms = 0;
    if (ask->body != NULL)
        view_buffer_text(&request.body, ask->body);
    if (http_route_find(&request, ask->target, reply) == 0 &&
        http_route_admit(&request, reply) == 0 &&
        http_route_parameters(&request, ask->body_type, reply) == 0) {
        http_route_run(&request, reply);
        *waited_ms = reply->wait_ms;
        if (reply->wait_ms > 0)
            http_route_run(&request, reply);
    }
    if (reply->status == 0)
        reply->status = 200;
    http_request_free(&request);
}

static void get(const char *target, struct http_reply *reply) {
    uint64_t waited_ms;
    answer(&(struct ask){HTTP_GET, target, NULL, NULL}, reply, &waited_ms);
}

static bool is_gzip(const struct http_reply *reply) {
    return reply->body.bytes > 20 && memcmp(reply->body.data, "\x1f\x8b", 2) == 0;
}

struct expectation {
    const char *target;
    unsigned status;
    const char *type;
    const char *disposition;
};

#define BINARY(name) "application/octet-stream", "attachment; filename=\"" name "\""
#define TEXT HTTP_TYPE_TEXT, ""

static void test_status_type_and_name_of_every_endpoint(void **state) {
    static const struct expectation cases[] = {
        {"/debug/pprof/heap", 200, BINARY("heap")},
        {"/debug/pprof/allocs", 200, BINARY("allocs")},
        {"/debug/pprof/block", 200, BINARY("block")},
        {"/debug/pprof/mutex", 200, BINARY("mutex")},
        {"/debug/pprof/goroutine", 200, BINARY("goroutine")},
        {"/debug/pprof/threadcreate", 200, BINARY("threadcreate")},
        {"/debug/pprof/profile", 200, BINARY("profile")},
        {"/debug/pprof/profile?seconds=30", 200, BINARY("profile")},
        {"/debug/pprof/heap?debug=1", 200, TEXT},
        {"/debug/pprof/heap?debug=2", 200, TEXT},
        {"/debug/pprof/heap?debug=-1", 200, TEXT},
        {"/debug/pprof/heap?debug=99999999999999999999", 200, TEXT},
        {"/debug/pprof/heap?debug=junk", 200, BINARY("heap")},
        {"/debug/pprof/heap?debug=0", 200, BINARY("heap")},
        {"/debug/pprof/heap?seconds=", 200, BINARY("heap")},
        {"/debug/pprof/heap?seconds=1", 200, BINARY("heap-delta")},
        {"/debug/pprof/allocs?seconds=1", 200, BINARY("allocs-delta")},
        {"/debug/pprof/goroutine?seconds=1", 200, BINARY("goroutine-delta")},
        {"/debug/pprof/block?seconds=1&seconds=9", 200, BINARY("block-delta")},
        {"/debug/pprof/goroutine?debug=2", 200, TEXT},
        {"/debug/pprof/goroutine?debug=-1", 200, TEXT},
        {"/debug/pprof/delta_heap", 200, BINARY("delta_heap")},
        {"/debug/pprof/delta_heap?seconds=junk", 200, BINARY("delta_heap")},
        {"/debug/pprof/delta_block", 200, BINARY("block")},
        {"/debug/pprof/delta_mutex", 200, BINARY("mutex")},
        {"/debug/pprof/heap?full=1", 200, BINARY("heap")},
        {"/debug/pprof/heap?at=1700000000", 404, TEXT},
        {"/debug/pprof/allocs?at=1700000000", 404, TEXT},
        {"/debug/pprof/block?at=1700000000", 200, BINARY("block")},
        {"/sd", 200, HTTP_TYPE_JSON, ""},
        {"/debug/pprof/cmdline", 200, TEXT},
        {"/debug/pprof/symbol", 200, TEXT},
        {"/debug/pprof/", 200, HTTP_TYPE_HTML, ""},
        {"/debug/pprof", 301, HTTP_TYPE_HTML, ""},
        {"/debug/pprof/trace", 501, TEXT},
        {"/debug/pprof/nope", 404, TEXT},
        {"/debug/pprof/heap/", 404, TEXT},
        {"/debug/pprof/heap/nope", 404, TEXT},
        {"/debug/pprof/../../etc/passwd", 404, TEXT},
        {"/debug/memstats", 200, HTTP_TYPE_JSON, ""},
        {"/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", ""},
        {"/healthz", 200, TEXT},
        {"/debug/gctrace", 200, TEXT},
        {"/debug/scavtrace", 200, TEXT},
        {"/", 200, HTTP_TYPE_HTML, ""},
        {"/nope", 404, TEXT},
        {"", 404, TEXT},
        {"*", 404, TEXT},
        {"http://h/healthz", 200, TEXT},
        {"http://h", 200, HTTP_TYPE_HTML, ""},
        {"/%68ealthz", 200, TEXT},
        {"/healthz%00", 400, TEXT},
        {"/%zz", 400, TEXT},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_reply reply;
        get(cases[i].target, &reply);
        if (reply.status != cases[i].status)
            fail_msg("%s answers %u", cases[i].target, reply.status);
        assert_string_equal(reply.type, cases[i].type);
        assert_string_equal(reply.disposition, cases[i].disposition);
        if (strcmp(reply.type, HTTP_TYPE_BINARY) == 0)
            assert_true(is_gzip(&reply));
        http_reply_free(&reply);
    }
}

static void test_errors_carry_gos_sentences(void **state) {
    static const char positive[] = "invalid value for \"seconds\" - must be a positive integer\n";
    static const struct {
        const char *target;
        unsigned status, flags;
        const char *body;
    } cases[] = {
        {"/debug/pprof/heap?seconds=0", 400, HTTP_REPLY_GO_PPROF, positive},
        {"/debug/pprof/heap?seconds=-1", 400, HTTP_REPLY_GO_PPROF, positive},
        {"/debug/pprof/heap?seconds=abc", 400, HTTP_REPLY_GO_PPROF, positive},
        {"/debug/pprof/heap?seconds=1.5", 400, HTTP_REPLY_GO_PPROF, positive},
        {"/debug/pprof/heap?seconds=abc&debug=1", 400, HTTP_REPLY_GO_PPROF, positive},
        {"/debug/pprof/heap?seconds=1&debug=1", 400, HTTP_REPLY_GO_PPROF,
         "seconds and debug params are incompatible\n"},
        {"/debug/pprof/heap?seconds=3601", 400, HTTP_REPLY_GO_PPROF,
         "profile duration exceeds server's WriteTimeout\n"},
        {"/debug/pprof/heap?seconds=3601&debug=1", 400, HTTP_REPLY_GO_PPROF,
         "profile duration exceeds server's WriteTimeout\n"},
        {"/debug/pprof/heap?at=x", 400, HTTP_REPLY_GO_PPROF,
         "invalid value for \"at\" - must be seconds since 1970\n"},
        {"/debug/pprof/heap?at=0", 400, HTTP_REPLY_GO_PPROF,
         "invalid value for \"at\" - must be seconds since 1970\n"},
        {"/debug/pprof/heap?at=1", 404, HTTP_REPLY_GO_PPROF, "no profile of that time is stored\n"},
        {"/debug/pprof/nope", 404, HTTP_REPLY_GO_PPROF, "Unknown profile\n"},
        {"/debug/pprof/nope?seconds=0", 404, HTTP_REPLY_GO_PPROF, "Unknown profile\n"},
        {"/debug/pprof/heap?proc=abc", 400, HTTP_REPLY_GO_PPROF,
         "invalid value for \"proc\" - must be a process id\n"},
        {"/debug/pprof/heap?proc=1", 404, HTTP_REPLY_GO_PPROF, "no such process\n"},
        {"/p/1/debug/pprof/heap", 404, HTTP_REPLY_GO_PPROF, "no such process\n"},
        {"/p/0/debug/pprof/heap", 404, 0, "404 page not found\n"},
        {"/p/x/debug/pprof/heap", 404, 0, "404 page not found\n"},
        {"/p/12", 404, 0, "404 page not found\n"},
        {"/p/12./debug/pprof/heap", 404, 0, "404 page not found\n"},
        {"/p/12.3.4/debug/pprof/heap", 404, 0, "404 page not found\n"},
        {"/p/12.99999999999999999999/debug/pprof/heap", 404, 0, "404 page not found\n"},
        {"/p/4294967296/debug/pprof/heap", 404, 0, "404 page not found\n"},
        {"/p/1.2/debug/pprof/heap", 404, HTTP_REPLY_GO_PPROF, "no such process\n"},
        {"/metrics?proc=1.2", 404, HTTP_REPLY_GO_PPROF, "no such process\n"},
        {"/debug/pprof/heap?proc=12.", 400, HTTP_REPLY_GO_PPROF,
         "invalid value for \"proc\" - must be a process id\n"},
        {"/nope", 404, 0, "404 page not found\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_reply reply;
        get(cases[i].target, &reply);
        assert_int_equal(reply.status, cases[i].status);
        assert_int_equal(reply.flags, cases[i].flags);
        assert_string_equal(reply.body.data, cases[i].body);
        assert_string_equal(reply.type, HTTP_TYPE_TEXT);
        http_reply_free(&reply);
    }
}

static void test_delta_waits_its_seconds(void **state) {
    struct http_reply reply;
    uint64_t waited_ms;
    (void)state;
    answer(&(struct ask){HTTP_GET, "/debug/pprof/heap?seconds=7", NULL, NULL}, &reply, &waited_ms);
    assert_int_equal(waited_ms, 7000);
    http_reply_free(&reply);
    answer(&(struct ask){HTTP_GET, "/debug/pprof/profile?seconds=7", NULL, NULL}, &reply,
           &waited_ms);
    assert_int_equal(waited_ms, 0);
    http_reply_free(&reply);
}

static void test_what_waits_is_bounded(void **state) {
    _Atomic size_t held = HTTP_WAITING_BYTES_MAX - 1000;
    struct http_reply reply = {0};
    struct http_request request = {.context = &context, .method = HTTP_GET};
    (void)state;
    context.waiting_bytes = &held;
    assert_int_equal(http_route_find(&request, "/debug/pprof/heap?seconds=7", &reply), 0);
    assert_int_equal(http_route_parameters(&request, NULL, &reply), 0);
    http_route_run(&request, &reply);
    assert_int_equal(reply.wait_ms, 7000);
    assert_in_range(held, HTTP_WAITING_BYTES_MAX - 999, HTTP_WAITING_BYTES_MAX);
    http_request_free(&request);
    assert_int_equal(held, HTTP_WAITING_BYTES_MAX - 1000);

    held = HTTP_WAITING_BYTES_MAX - 10;
    get("/debug/pprof/heap?seconds=7", &reply);
    assert_int_equal(reply.status, 503);
    assert_int_equal(reply.flags, HTTP_REPLY_GO_PPROF);
    assert_non_null(strstr(reply.body.data, "too many requests"));
    assert_int_equal(held, HTTP_WAITING_BYTES_MAX - 10);
    http_reply_free(&reply);
    get("/debug/pprof/heap", &reply);
    assert_int_equal(reply.status, 200);
    http_reply_free(&reply);
}

static void test_parameters_come_from_a_form_too(void **state) {
    static const char form[] = "application/x-www-form-urlencoded";
    static const struct {
        struct ask ask;
        const char *type;
    } cases[] = {
        {{HTTP_POST, "/debug/pprof/heap", "debug=1", form}, HTTP_TYPE_TEXT},
        {{HTTP_POST, "/debug/pprof/heap?debug=1", "debug=0", form}, HTTP_TYPE_BINARY},
        {{HTTP_POST, "/debug/pprof/heap", "debug=1", "text/plain"}, HTTP_TYPE_BINARY},
        {{HTTP_POST, "/debug/pprof/heap", "debug=1", NULL}, HTTP_TYPE_BINARY},
        {{HTTP_POST, "/debug/pprof/heap?debug=1", NULL, NULL}, HTTP_TYPE_TEXT},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_reply reply;
        uint64_t waited_ms;
        answer(&cases[i].ask, &reply, &waited_ms);
        assert_int_equal(reply.status, 200);
        assert_string_equal(reply.type, cases[i].type);
        http_reply_free(&reply);
    }
}

static void test_methods(void **state) {
    static const struct {
        unsigned method;
        const char *target;
        unsigned status;
        const char *allow;
    } cases[] = {
        {HTTP_HEAD, "/debug/pprof/heap", 200, NULL},
        {0, "/debug/pprof/heap", 405, "GET, HEAD, POST"},
        {HTTP_POST, "/metrics", 405, "GET, HEAD"},
        {HTTP_GET, "/debug/mallard/rate?bytes=1", 405, "POST"},
        {0, "/nope", 404, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_reply reply;
        uint64_t waited_ms;
        answer(&(struct ask){cases[i].method, cases[i].target, NULL, NULL}, &reply, &waited_ms);
        assert_int_equal(reply.status, cases[i].status);
        assert_true((reply.allow == NULL) == (cases[i].allow == NULL));
        if (cases[i].allow != NULL)
            assert_string_equal(reply.allow, cases[i].allow);
        http_reply_free(&reply);
    }
}

static void test_redirect_keeps_process_and_query_and_escapes(void **state) {
    static const struct {
        const char *target, *location, *body;
    } cases[] = {
        {"/debug/pprof", "/debug/pprof/", "<a href=\"/debug/pprof/\">Moved Permanently</a>.\n\n"},
        {"/debug/pprof?a=1&b", "/debug/pprof/?a=1&b",
         "<a href=\"/debug/pprof/?a=1&amp;b\">Moved Permanently</a>.\n\n"},
        {"/p/42.7/debug/pprof", "/p/42.7/debug/pprof/",
         "<a href=\"/p/42.7/debug/pprof/\">Moved Permanently</a>.\n\n"},
        {"/p/42/debug/pprof", "/p/42/debug/pprof/",
         "<a href=\"/p/42/debug/pprof/\">Moved Permanently</a>.\n\n"},
        {"//debug/pprof/heap?debug=1", "/debug/pprof/heap?debug=1",
         "<a href=\"/debug/pprof/heap?debug=1\">Moved Permanently</a>.\n\n"},
        {"http://localhost///p/42//metrics?a=//", "/p/42/metrics?a=//",
         "<a href=\"/p/42/metrics?a=//\">Moved Permanently</a>.\n\n"},
        {"//", "/", "<a href=\"/\">Moved Permanently</a>.\n\n"},
        {"/debug/pprof?\"><script>", "/debug/pprof/?\"><script>",
         "<a href=\"/debug/pprof/?&#34;&gt;&lt;script&gt;\">Moved Permanently</a>.\n\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_reply reply;
        get(cases[i].target, &reply);
        assert_int_equal(reply.status, 301);
        assert_string_equal(reply.location, cases[i].location);
        assert_string_equal(reply.body.data, cases[i].body);
        http_reply_free(&reply);
    }
}

static void test_slashes_that_lead_nowhere(void **state) {
    static const char *const targets[] = {"//etc/passwd", "//debug/pprof/nope", "//evil.example/..",
                                          "/debug/pprof%2f/heap", "///p/1"};
    (void)state;
    for (size_t i = 0; i < COUNT(targets); i++) {
        struct http_reply reply;
        get(targets[i], &reply);
        assert_int_equal(reply.status, 404);
        assert_null(reply.location);
        http_reply_free(&reply);
    }
}

static void test_symbol_reads_query_or_body(void **state) {
    struct http_reply reply;
    uint64_t waited_ms;
    char address[32];
    char line[128];
    (void)state;
    snprintf(address, sizeof address, "%p", (void *)(uintptr_t)&test_symbol_reads_query_or_body);
    snprintf(line, sizeof line, "num_symbols: 1\n%s test_symbol_reads_query_or_body\n", address);
    answer(&(struct ask){HTTP_POST, "/debug/pprof/symbol", address,
                         "application/x-www-form-urlencoded"},
           &reply, &waited_ms);
    assert_string_equal(reply.body.data, line);
    http_reply_free(&reply);
    answer(&(struct ask){HTTP_POST, "/debug/pprof/symbol", NULL, NULL}, &reply, &waited_ms);
    assert_string_equal(reply.body.data, "num_symbols: 1\n");
    http_reply_free(&reply);
}

static void test_cmdline_is_joined_by_nuls(void **state) {
    const char *const arguments[] = {"prog", "a b", "", NULL};
    struct http_reply reply;
    (void)state;
    box_fixture_set_cmdline(box, arguments);
    get("/debug/pprof/cmdline", &reply);
    assert_int_equal(reply.body.bytes, 9);
    assert_memory_equal(reply.body.data, "prog\0a b\0", 9);
    http_reply_free(&reply);
}

static void test_root_escapes_what_a_process_calls_itself(void **state) {
    const char *const arguments[] = {"<script>alert(1)</script>", "\"'&\n\x1b[2J", NULL};
    struct http_reply reply;
    (void)state;
    box_fixture_set_cmdline(box, arguments);
    get("/", &reply);
    assert_null(strstr(reply.body.data, "<script>"));
    assert_null(strchr(reply.body.data, 0x1b));
    assert_non_null(strstr(reply.body.data, "&lt;script&gt;"));
    http_reply_free(&reply);
}

/* ---- discovery, metrics, stored profiles ---- */

/* A source of one process about which something is kept. */
static struct keep_facts kept;
static char kept_folder[] = "/tmp/mallard-test-XXXXXX";

static int open_kept(void *source_context, const struct http_ask *ask, http_process_visit *visit,
                     void *visit_context) {
    struct http_facts facts = {.folder = kept_folder, .root = "", .kept = &kept};
    struct mal_box_reader *reader;
    (void)source_context;
    (void)ask;
    assert_int_equal(mal_reader_from_memory(memory.base, memory.bytes, &reader), 0);
    return http_source_visit(reader, &facts, visit, visit_context);
}

static int each_kept(void *source_context, uint32_t viewer_uid, http_process_visit *visit,
                     void *visit_context) {
    const struct http_ask ask = {.viewer_uid = viewer_uid};
    return open_kept(source_context, &ask, visit, visit_context);
}

static void test_discovery_escapes_and_names(void **state) {
    struct http_reply reply;
    char wanted[1024];
    char pod[] = "shop-7";
    char unit[] = "a\"\\\xff.service";
    (void)state;
    box_fixture_set_process(box, (uint32_t)getpid(), box_fixture_start_ticks((uint32_t)getpid()));
    box_fixture_set_exe(box, "/opt/\"quoted\"\n\xff");
    kept = (struct keep_facts){.pod = pod, .unit = unit};
    source = (struct http_source){open_kept, each_kept, NULL};
    get("/sd", &reply);
    snprintf(wanted, sizeof wanted,
             "[\n{\"targets\":[\"127.0.0.1:6060\"],\"labels\":{\"__param_proc\":\"%d.%llu\","
             "\"instance\":\"\\\"quoted\\\"\\n\\ufffd-%d.%llu@127.0.0.1:6060\","
             "\"service_name\":\"shop-7\",\"pid\":\"%d\","
             "\"exe\":\"/opt/\\\"quoted\\\"\\n\\ufffd\","
             "\"unit\":\"a\\\"\\\\\\ufffd.service\",\"pod\":\"shop-7\"}}\n]\n",
             (int)getpid(), (unsigned long long)box_fixture_start_ticks((uint32_t)getpid()),
             (int)getpid(), (unsigned long long)box_fixture_start_ticks((uint32_t)getpid()),
             (int)getpid());
    assert_string_equal(reply.body.data, wanted);
    http_reply_free(&reply);
    box_fixture_set_exited(box, 0);
    get("/sd", &reply);
    assert_string_equal(reply.body.data, "[]\n");
    http_reply_free(&reply);
}

static void test_a_stored_profile_is_the_file(void **state) {
    struct http_reply reply;
    char path[128];
    (void)state;
    kept = (struct keep_facts){0};
    source = (struct http_source){open_kept, each_kept, NULL};
    assert_non_null(mkdtemp(kept_folder));
    snprintf(path, sizeof path, "%s/heap.1700000000.pb.gz", kept_folder);
    FILE *file = fopen(path, "w");
    fputs("as it lies", file);
    fclose(file);
    get("/p/12/debug/pprof/heap?at=1700000000", &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body.data, "as it lies");
    assert_string_equal(reply.disposition, "attachment; filename=\"heap.1700000000.pb.gz\"");
    http_reply_free(&reply);
    get("/p/12/debug/pprof/heap?at=1700000001", &reply);
    assert_int_equal(reply.status, 404);
    http_reply_free(&reply);
    unlink(path);
    rmdir(kept_folder);
}

static void add_family(void *more_context, struct view_buffer *out) {
    view_buffer_printf(out, "# TYPE %s gauge\n", (const char *)more_context);
}

static void test_more_metrics_come_with_all_processes(void **state) {
    struct http_reply reply;
    char target[64];
    char family[] = "mallardd_test";
    (void)state;
    context.more_metrics = add_family;
    context.more_context = family;
    get("/metrics", &reply);
    assert_non_null(strstr(reply.body.data, "# TYPE mallardd_test gauge\n"));
    http_reply_free(&reply);
    snprintf(target, sizeof target, "/metrics?proc=%d", (int)getpid());
    get(target, &reply);
    assert_int_equal(reply.status, 200);
    assert_null(strstr(reply.body.data, "mallardd_test"));
    http_reply_free(&reply);
    context.more_metrics = NULL;
}

/* ---- commands ---- */

static _Atomic uint32_t seen_command;
static _Atomic int64_t seen_argument;

static int64_t answer_command(uint32_t command, int64_t argument, int32_t *ret_error) {
    seen_command = command;
    seen_argument = argument;
    *ret_error = command == MAL_BOX_CMD_SET_GOGC ? -ENOSYS : 0;
    return command == MAL_BOX_CMD_SET_RATE ? 524288 : 4096;
}

static void test_knobs_send_commands(void **state) {
    static const struct {
        const char *target;
        unsigned status;
        uint32_t command;
        int64_t argument;
        const char *body;
    } cases[] = {
        {"/debug/mallard/rate?bytes=1024", 200, MAL_BOX_CMD_SET_RATE, 1024,
         "{\"previous\":524288}\n"},
        {"/debug/mallard/free-os-memory", 200, MAL_BOX_CMD_FREE_OS_MEMORY, 0,
         "{\"returned_bytes\":4096}\n"},
        {"/debug/mallard/gogc?percent=50", 501, MAL_BOX_CMD_SET_GOGC, 50,
         "this process has no such knob\n"},
        {"/debug/mallard/rate?bytes=x", 400, 0, 0,
         "invalid value for \"bytes\" - must be an integer\n"},
        {"/debug/mallard/rate", 400, 0, 0, "invalid value for \"bytes\" - must be an integer\n"},
    };
    struct box_server *server = box_server_start_memory(box, answer_command);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_reply reply;
        uint64_t waited_ms;
        seen_command = 0;
        seen_argument = 0;
        answer(&(struct ask){HTTP_POST, cases[i].target, NULL, NULL}, &reply, &waited_ms);
        assert_int_equal(reply.status, cases[i].status);
        assert_string_equal(reply.body.data, cases[i].body);
        assert_int_equal(seen_command, cases[i].command);
        assert_int_equal(seen_argument, cases[i].argument);
        http_reply_free(&reply);
    }
    box_server_stop(server);
}

static void test_gc_collects_for_heap_only(void **state) {
    static const struct {
        const char *target;
        uint32_t command;
    } cases[] = {
        {"/debug/pprof/heap?gc=1", MAL_BOX_CMD_COLLECT},
        {"/debug/pprof/heap?gc=0", 0},
        {"/debug/pprof/heap?gc=junk", 0},
        {"/debug/pprof/allocs?gc=1", 0},
        {"/debug/pprof/heap?gc=1&seconds=1", 0},
    };
    struct box_server *server = box_server_start_memory(box, answer_command);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_reply reply;
        seen_command = 0;
        get(cases[i].target, &reply);
        assert_int_equal(reply.status, 200);
        assert_int_equal(seen_command, cases[i].command);
        assert_null(reply.note);
        http_reply_free(&reply);
    }
    box_server_stop(server);
}

static void test_gc_without_anyone_to_ask_says_so(void **state) {
    struct http_reply reply;
    (void)state;
    box_fixture_mailbox(box)->served = 0;
    get("/debug/pprof/heap?gc=1", &reply);
    assert_int_equal(reply.status, 200);
    assert_true(is_gzip(&reply));
    assert_non_null(reply.note);
    http_reply_free(&reply);
}

/* ---- folders ---- */

/* A process that lives as long as the test, for a pid that is not ours. */
static pid_t start_sleeper(void) {
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    return pid;
}

static void save_process(const char *folder, uint32_t pid, uint64_t started_unix_ns,
                         char ret_path[BOX_FIXTURE_PATH_BYTES]) {
    struct box_fixture *one = box_fixture_typical();
    box_fixture_set_process(one, pid, box_fixture_start_ticks(pid));
    box_fixture_header(one)->started_unix_ns = started_unix_ns;
    box_fixture_save(one, folder, ret_path);
    box_fixture_free(one);
}

static uint32_t asked_pid(const struct http_source *from, const struct http_ask *ask) {
    struct mal_box_reader *reader;
    struct mal_identity identity;
    if (http_source_take(from, ask, &reader) < 0)
        return 0;
    assert_int_equal(mal_reader_identity(reader, &identity), 0);
    uint32_t found = identity.pid;
    mal_identity_free(&identity);
    mal_reader_close(reader);
    return found;
}

static uint32_t opened_pid(const struct http_source *from, uint32_t pid) {
    return asked_pid(from, &(struct http_ask){{pid, 0}, HTTP_VIEWER_ALL});
}

static void test_the_default_process_of_a_folder(void **state) {
    char folder[] = "/tmp/mallard-test-XXXXXX";
    char path[4][BOX_FIXTURE_PATH_BYTES];
    (void)state;
    assert_non_null(mkdtemp(folder));
    struct http_folder_source boxes = {.folder = folder};
    struct http_source from = http_folder_source(&boxes);
    assert_int_equal(opened_pid(&from, 0), 0);
    pid_t dead = start_sleeper();
    kill(dead, SIGKILL);
    waitpid(dead, NULL, 0);
    save_process(folder, (uint32_t)dead, 1, path[0]);
    assert_int_equal(opened_pid(&from, 0), dead); /* all dead: the oldest */
    pid_t other = start_sleeper();
    save_process(folder, (uint32_t)other, 3, path[1]);
    save_process(folder, (uint32_t)getpid(), 2, path[2]);
    assert_int_equal(opened_pid(&from, 0), getpid()); /* the oldest living */
    assert_int_equal(opened_pid(&from, (uint32_t)other), other);
    assert_int_equal(opened_pid(&from, (uint32_t)dead), dead);
    atomic_store(&boxes.main_pid, (uint32_t)other);
    assert_int_equal(opened_pid(&from, 0), other); /* as told */
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    for (int i = 0; i < 3; i++)
        unlink(path[i]);
    rmdir(folder);
}

static int count_processes(struct http_process *process, void *counter) {
    (void)process;
    ++*(int *)counter;
    return 0;
}

static void check_status(const char *target, unsigned status) {
    struct http_reply reply;
    get(target, &reply);
    assert_int_equal(reply.status, status);
    http_reply_free(&reply);
}

/* Leaves room for so many more descriptors. */
static void leave_descriptors(unsigned count, const struct rlimit *before) {
    int lowest = dup(0);
    assert_true(lowest >= 0);
    close(lowest);
    const struct rlimit few = {(rlim_t)lowest + count, before->rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
}

static void test_out_of_descriptors_no_process_is_gone(void **state) {
    char folder[] = "/tmp/mallard-test-XXXXXX";
    char path[BOX_FIXTURE_PATH_BYTES];
    struct rlimit before;
    (void)state;
    assert_non_null(mkdtemp(folder));
    save_process(folder, (uint32_t)getpid(), 1000, path);
    struct http_folder_source boxes = {.folder = folder, .flags = HTTP_FOLDER_NESTED};
    struct http_source from = http_folder_source(&boxes);
    context.source = &from;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (unsigned free_descriptors = 0; free_descriptors < 2; free_descriptors++) {
        leave_descriptors(free_descriptors, &before);
        check_status("/debug/pprof/heap", 500);
        check_status("/metrics", 503);
        check_status("/sd", 503);
        check_status("/api/processes", 503);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    }
    check_status("/debug/pprof/heap", 200);
    check_status("/metrics", 200);
    check_status("/sd", 200);
    check_status("/api/processes", 200);
    context.source = &source;
    unlink(path);
    rmdir(folder);
}

static void test_nested_folders_and_damaged_boxes(void **state) {
    char folder[] = "/tmp/mallard-test-XXXXXX";
    char nested[64];
    char damaged[96];
    char path[BOX_FIXTURE_PATH_BYTES];
    int count = 0;
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(nested, sizeof nested, "%s/run.1", folder);
    snprintf(damaged, sizeof damaged, "%s/77.1.mallard", folder);
    assert_int_equal(mkdir(nested, 0700), 0);
    fclose(fopen(damaged, "w"));
    save_process(nested, (uint32_t)getpid(), 1, path);
    struct http_folder_source boxes = {.folder = folder, .flags = HTTP_FOLDER_NESTED};
    struct http_source from = http_folder_source(&boxes);
    from.each(from.context, HTTP_VIEWER_ALL, count_processes, &count);
    assert_int_equal(count, 1);
    boxes.flags = 0;
    assert_int_equal(opened_pid(&from, 0), 0);
    unlink(path);
    unlink(damaged);
    rmdir(nested);
    rmdir(folder);
}

static uint64_t asked_ticks(const struct http_source *from, const struct http_key *key) {
    struct mal_box_reader *reader;
    struct mal_identity identity;
    if (http_source_take(from, &(struct http_ask){*key, HTTP_VIEWER_ALL}, &reader) < 0)
        return 0;
    assert_int_equal(mal_reader_identity(reader, &identity), 0);
    uint64_t found = identity.start_ticks;
    mal_identity_free(&identity);
    mal_reader_close(reader);
    return found;
}

static void test_two_processes_of_one_pid_are_told_apart(void **state) {
    char folder[] = "/tmp/mallard-test-XXXXXX";
    char path[2][BOX_FIXTURE_PATH_BYTES];
    (void)state;
    assert_non_null(mkdtemp(folder));
    for (uint64_t ticks = 7; ticks <= 8; ticks++) {
        struct box_fixture *one = box_fixture_typical();
        box_fixture_set_process(one, 4194300, ticks);
        box_fixture_header(one)->started_unix_ns = ticks;
        box_fixture_save(one, folder, path[ticks - 7]);
        box_fixture_free(one);
    }
    struct http_folder_source boxes = {.folder = folder};
    struct http_source from = http_folder_source(&boxes);
    assert_int_equal(asked_ticks(&from, &(struct http_key){4194300, 0}), 8);
    assert_int_equal(asked_ticks(&from, &(struct http_key){4194300, 7}), 7);
    assert_int_equal(asked_ticks(&from, &(struct http_key){4194300, 9}), 0);
    unlink(path[0]);
    unlink(path[1]);
    rmdir(folder);
}

static void test_a_viewer_sees_its_own_boxes(void **state) {
    char folder[] = "/tmp/mallard-test-XXXXXX";
    char path[BOX_FIXTURE_PATH_BYTES];
    uint32_t pid = (uint32_t)getpid();
    (void)state;
    assert_non_null(mkdtemp(folder));
    save_process(folder, pid, 1, path);
    struct http_folder_source boxes = {.folder = folder};
    struct http_source from = http_folder_source(&boxes);
    struct http_source own = http_memory_source(&memory);
    const struct {
        const struct http_source *from;
        uint32_t viewer_uid;
        bool sees;
    } cases[] = {
        {&from, HTTP_VIEWER_ALL, true},
        {&from, geteuid(), true},
        {&from, geteuid() + 1, false},
        {&from, 1234, false},
        {&from, HTTP_VIEWER_NOBODY, false},
        {&own, HTTP_VIEWER_ALL, true},
        {&own, geteuid(), true},
        {&own, geteuid() + 1, false},
        {&own, HTTP_VIEWER_NOBODY, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int count = 0;
        const struct http_ask any = {{0, 0}, cases[i].viewer_uid};
        const struct http_ask one = {{pid, 0}, cases[i].viewer_uid};
        cases[i].from->each(cases[i].from->context, cases[i].viewer_uid, count_processes, &count);
        assert_int_equal(count, cases[i].sees);
        assert_int_equal(asked_pid(cases[i].from, &any), cases[i].sees ? pid : 0);
        assert_int_equal(asked_pid(cases[i].from, &one), cases[i].sees ? pid : 0);
    }
    unlink(path);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status_type_and_name_of_every_endpoint, scene_begin,
                                        scene_end),
        cmocka_unit_test_setup_teardown(test_errors_carry_gos_sentences, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(test_delta_waits_its_seconds, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(test_what_waits_is_bounded, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(test_parameters_come_from_a_form_too, scene_begin,
                                        scene_end),
        cmocka_unit_test_setup_teardown(test_methods, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(test_redirect_keeps_process_and_query_and_escapes,
                                        scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(test_slashes_that_lead_nowhere, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(test_symbol_reads_query_or_body, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(test_cmdline_is_joined_by_nuls, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(test_root_escapes_what_a_process_calls_itself, scene_begin,
                                        scene_end),
        cmocka_unit_test_setup_teardown(test_discovery_escapes_and_names, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(test_a_stored_profile_is_the_file, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(test_more_metrics_come_with_all_processes, scene_begin,
                                        scene_end),
        cmocka_unit_test_setup_teardown(test_knobs_send_commands, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(test_gc_collects_for_heap_only, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(test_gc_without_anyone_to_ask_says_so, scene_begin,
                                        scene_end),
        cmocka_unit_test(test_the_default_process_of_a_folder),
        cmocka_unit_test_setup_teardown(test_out_of_descriptors_no_process_is_gone, scene_begin,
                                        scene_end),
        cmocka_unit_test(test_nested_folders_and_damaged_boxes),
        cmocka_unit_test(test_two_processes_of_one_pid_are_told_apart),
        cmocka_unit_test_setup_teardown(test_a_viewer_sees_its_own_boxes, scene_begin, scene_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
