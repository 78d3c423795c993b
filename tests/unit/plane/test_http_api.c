/* SPDX-License-Identifier: Apache-2.0
 *
 * The documents under /api, the pages without JavaScript and the assets, without a socket: a box
 * made by hand, served from memory, and a source that knows a keep folder.
 */
#include "http/assets.h"
#include "keep/keep.h"
#include "support/gunzip.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/http_scene.h"

static void get_as(const char *target, bool accepts_gzip, struct http_reply *reply) {
    struct http_request request = {
        .context = &context, .method = HTTP_GET, .accepts_gzip = accepts_gzip};
    *reply = (struct http_reply){0};
    if (http_route_find(&request, target, reply) == 0 && http_route_admit(&request, reply) == 0 &&
        http_route_parameters(&request, NULL, reply) == 0)
        http_route_run(&request, reply);
    if (reply->status == 0)
        reply->status = 200;
    http_request_free(&request);
}

static void get(const char *target, struct http_reply *reply) {
    get_as(target, false, reply);
}

static void assert_has(const char *target, const char *const *parts) {
    struct http_reply reply;
    get(target, &reply);
    assert_int_equal(reply.status, 200);
    for (; *parts != NULL; parts++)
        if (strstr(reply.body.data, *parts) == NULL)
            fail_msg("%s has no %s:\n%.2000s", target, *parts, reply.body.data);
    http_reply_free(&reply);
}

#define HAS(target, ...) assert_has(target, (const char *const[]){__VA_ARGS__, NULL})

/* -------------------------------------------------------------------------------- documents */

static void test_documents(void **state) {
    (void)state;
    HAS("/api/processes", "{\"now_unix_ns\":", "\"daemon\":false", "\"processes\":[{\"id\":\"",
        "\"alive\":true", "\"life\":\"running\"", "\"rss_bytes\":79165824",
        "\"growth_bytes_per_hour\":null", "\"death\":null");
    HAS("/api/process", "\"rss\":{\"resident_bytes\":", "\"measured\":true",
        "\"parts\":[{\"key\":\"live\"", "\"key\":\"rest\"", "\"sentence\":\"RSS ",
        "\"stats\":{\"total_alloc_bytes\":2045673208", "\"classes\":[{\"size_bytes\":0",
        "\"knobs\":{\"rate_bytes\":", "\"gogc\":100,\"memory_limit_bytes\":null",
        "\"can_command\":false", "\"limits\":{\"cgroup_max_bytes\":", "\"profiles\":[]}");
    HAS("/api/history", "\"columns\":[\"unix_ns\",\"rss_bytes\"", "\"rows\":[[",
        "\"kind\":\"gc\",\"text\":\"gc 1 @0.010s", "\"oldest_unix_s\":");
    HAS("/api/profile", "\"values\":[\"alloc_objects\"", "box_fixture_typical", "\"other\":null}");
    HAS("/api/spans", "\"page_bytes\":8192", "\"stride\":1", "\"pins\":{\"functions\":");
    HAS("/api/trace", "{\"cursor\":", "\"lines\":[\"gc 1 @0.010s", "\"gc 2 @0.020s");
    HAS("/api/trace?cursor=40", "\"lines\":[\"gc 2 @0.020s");
    HAS("/api/history?to=1", "\"rows\":[],\"events\":[]");
    HAS("/api/history?points=3", "\"rows\":[[");
}

static void assert_has_not(const char *target, const char *part) {
    struct http_reply reply;
    get(target, &reply);
    assert_int_equal(reply.status, 200);
    if (strstr(reply.body.data, part) != NULL)
        fail_msg("%s has %s", target, part);
    http_reply_free(&reply);
}

/* What the collected heap shows of itself; nothing where it is not used. */
static void test_collector(void **state) {
    (void)state;
    char page[64];
    snprintf(page, sizeof page, "/p/%d/", getpid());
    HAS("/api/process",
        "\"collector\":{\"cycles\":2,\"forced_cycles\":1,\"last_pause_ns\":220349,"
        "\"total_pause_ns\":317830,\"last_unix_ns\":",
        "\"goal_bytes\":54894288,\"live_bytes\":27447144,\"heap_bytes\":31000000,"
        "\"cpu_share\":0.027474219}");
    HAS(page, "<h2>Collected heap</h2>", "<dt>Collections</dt><dd>2, 1 of them forced</dd>",
        "<dt>Last pause</dt><dd>0.220 ms</dd>", "<dt>All pauses</dt><dd>0.318 ms</dd>",
        "title=\"54894288 bytes\"", "title=\"27447144 bytes\"",
        "<dt>CPU time for collecting</dt><dd>2.7 %</dd>");
    uint64_t *value = box_fixture_stats(box)->value;
    value[MAL_STAT_NEXT_GC] = INT64_MAX;
    HAS("/api/process", "\"goal_bytes\":null");
    assert_has_not(page, "Next collection");
    value[MAL_STAT_NUM_GC] = value[MAL_STAT_GC_HEAP] = 0;
    HAS("/api/process", "\"collector\":null");
    assert_has_not(page, "Collect");
}

static void test_the_dead(void **state) {
    char page[64];
    (void)state;
    snprintf(page, sizeof page, "/p/%d/", getpid());
    box_fixture_set_exited(box, 3);
    HAS(page, "code and files</th><td class=\"number\">not known</td>");
    HAS("/api/process", "\"alive\":false", "\"life\":\"exited\"", "\"measured\":false",
        "\"resident_bytes\":79165824",
        "\"death\":{\"kind\":\"exited\",\"signal\":0,\"exit_code\":3,"
        "\"sentence\":\"exited with status 3\"}");
    box_fixture_header(box)->wait_status = SIGKILL;
    box_fixture_header(box)->reaped = 1;
    HAS("/api/processes", "\"kind\":\"signal\",\"signal\":9", "\"sentence\":\"killed by SIGKILL\"");
}

static unsigned long long number_of(const char *text, const char *name) {
    unsigned long long number;
    const char *at = strstr(text, name);
    assert_non_null(at);
    assert_int_equal(sscanf(at + strlen(name), ":%llu", &number), 1);
    return number;
}

/* Nothing was published yet: the kernel knows the resident set, and samples the live bytes. Five to
 * eight objects of each of four stacks stand for half a MiB each. */
static void test_nothing_published(void **state) {
    struct http_reply reply;
    (void)state;
    memset(box_fixture_stats(box), 0, sizeof(struct mal_box_stats));
    get("/api/processes", &reply);
    assert_true(number_of(reply.body.data, "\"rss_bytes\"") > 1 << 20);
    assert_in_range(number_of(reply.body.data, "\"live_bytes\""), 26 << 19, 27 << 19);
    http_reply_free(&reply);
}

/* The parts of the document, added up. */
static void test_parts_add_up(void **state) {
    struct http_reply reply;
    unsigned long long whole, sum = 0, part;
    (void)state;
    get("/api/process", &reply);
    const char *at = strstr(reply.body.data, "\"resident_bytes\":");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\"resident_bytes\":%llu", &whole), 1);
    const char *end = strstr(at, "\"sentence\"");
    while ((at = strstr(at, "\"bytes\":")) != NULL && at < end) {
        assert_int_equal(sscanf(at, "\"bytes\":%llu", &part), 1);
        sum += part;
        at++;
    }
    assert_true(whole > 0 && sum == whole);
    http_reply_free(&reply);
}

static void assert_error(const char *target, unsigned status, const char *text) {
    struct http_reply reply;
    get(target, &reply);
    assert_int_equal(reply.status, status);
    assert_string_equal(reply.type, HTTP_TYPE_JSON);
    assert_string_equal(reply.body.data, text);
    assert_false(reply.flags & HTTP_REPLY_GO_PPROF);
    http_reply_free(&reply);
}

static void test_errors_are_json(void **state) {
    (void)state;
    assert_error("/api/process?proc=4000000000", 404, "{\"error\":\"no such process\"}\n");
    assert_error("/api/history?proc=x", 400,
                 "{\"error\":\"invalid value for \\\"proc\\\" - must be a process id\"}\n");
    assert_error("/api/profile?at=5", 404, "{\"error\":\"no profile is stored for that time\"}\n");
    assert_error("/p/4000000000/api/trace", 404, "{\"error\":\"no such process\"}\n");
    ((uint64_t *)box_fixture_section(box, MAL_BOX_SPANS))[0] = 0;
    assert_error("/api/spans", 409,
                 "{\"error\":\"the process cannot be asked for the map of its spans, and none was "
                 "taken before\"}\n");
}

static void test_names_cannot_break_out(void **state) {
    (void)state;
    const char *const arguments[] = {"/x/</script><b>\"&'\xff\n", "--a\\b", NULL};
    box_fixture_set_cmdline(box, arguments);
    HAS("/api/processes", "\"name\":\"script\\u003e\\u003cb\\u003e\\\"\\u0026'\\ufffd\\n\"");
    struct http_reply reply;
    get("/", &reply);
    assert_null(strstr(reply.body.data, "<b>"));
    assert_non_null(strstr(reply.body.data, "&lt;b&gt;&#34;&amp;&#39;"));
    http_reply_free(&reply);
}

/* ------------------------------------------------------------------------------ compression */

static void test_compressed_when_accepted(void **state) {
    struct http_reply plain, packed;
    size_t bytes;
    (void)state;
    get("/api/spans", &plain);
    assert_null(plain.encoding);
    assert_true(plain.varies);
    assert_string_equal(plain.cache, "no-store");
    get_as("/api/trace", true, &packed);
    assert_null(packed.encoding); /* too small to be worth it */
    http_reply_free(&packed);
    get_as("/api/process", true, &packed);
    assert_string_equal(packed.encoding, "gzip");
    char *text = gunzip(packed.body.data, packed.body.bytes, &bytes);
    assert_non_null(text);
    assert_memory_equal(text, "{\"id\":", 6);
    free(text);
    http_reply_free(&plain);
    http_reply_free(&packed);
}

static void test_accept_encoding(void **state) {
    static const struct {
        const char *header;
        bool accepts;
    } cases[] = {{NULL, false},          {"", false},
                 {"gzip", true},         {"GZIP", true},
                 {"br, gzip", true},     {"br;q=1.0, gzip;q=0.8", true},
                 {"gzip;q=0", false},    {"gzip;q=0.00", false},
                 {"gzip; q=0.01", true}, {"identity, xgzip", false},
                 {"gzipped", false},     {"deflate,,gzip", true}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(http_accepts_gzip(cases[i].header), cases[i].accepts);
}

/* ------------------------------------------------------------------------------------- pages */

static void test_pages(void **state) {
    char page[64], answer[64];
    struct http_reply reply;
    (void)state;
    snprintf(page, sizeof page, "/p/%d/", getpid());
    snprintf(answer, sizeof answer, "<a href=\"/p/%d.", getpid());
    HAS("/", "<!DOCTYPE html>", "<html lang=\"en\">", "<main id=\"app\"", "<caption>",
        "scope=\"col\"", "scope=\"row\"", answer);
    HAS(page, "Where the resident memory is", "<p>RSS ", "box_fixture_typical",
        "<caption>Size classes", "gc 2 @0.020s", "go tool pprof -base before.pb.gz",
        "http://127.0.0.1:6060/p/");
    get(page, &reply);
    assert_true(reply.flags & HTTP_REPLY_PAGE && reply.flags & HTTP_REPLY_APP);
    assert_null(strstr(reply.body.data, "<form")); /* nobody answers its mailbox */
    assert_null(strstr(reply.body.data, "<style"));
    http_reply_free(&reply);
    get("/p/4000000000/", &reply);
    assert_int_equal(reply.status, 404);
    http_reply_free(&reply);
}

static int64_t answer_nothing(uint32_t command, int64_t argument, int32_t *ret_error) {
    (void)command;
    (void)argument;
    *ret_error = 0;
    return 0;
}

static void test_knobs_where_the_process_answers(void **state) {
    char page[64];
    (void)state;
    snprintf(page, sizeof page, "/p/%d/", getpid());
    struct box_server *server = box_server_start_memory(box, answer_nothing);
    HAS(page, "<form method=\"post\"", "/debug/mallard/rate\"", "<label>",
        "<button>Collect garbage</button>");
    HAS("/api/process", "\"can_command\":true");
    box_fixture_stats(box)->value[MAL_STAT_NUM_GC] = 0;
    box_fixture_stats(box)->value[MAL_STAT_GC_HEAP] = 0;
    assert_has_not(page, "Collect garbage");
    box_server_stop(server);
}

/* ------------------------------------------------------------------------------------ assets */

static void test_assets(void **state) {
    struct http_reply reply;
    char target[128];
    (void)state;
    get("/assets/none.js", &reply);
    assert_int_equal(reply.status, 404);
    http_reply_free(&reply);
    get("/assets/../page.c", &reply);
    assert_int_equal(reply.status, 404);
    http_reply_free(&reply);
    for (const struct http_asset *asset = http_assets; asset->name != NULL; asset++) {
        snprintf(target, sizeof target, "/assets/%s", asset->name);
        get(target, &reply);
        assert_int_equal(reply.status, asset->type != NULL ? 200 : 404);
        if (asset->type != NULL) {
            assert_int_equal(reply.body.bytes, asset->plain_bytes);
            assert_non_null(strstr(reply.cache, "immutable"));
        }
        http_reply_free(&reply);
    }
}

/* -------------------------------------------------------------------------------- what is kept */

static char kept_folder[512];

/* The memory source, with a keep folder in its facts. */
struct kept_visit {
    http_process_visit *visit;
    void *visit_context;
};

static int with_folder(struct http_process *process, void *visit_context) {
    const struct kept_visit *kept = visit_context;
    struct http_facts facts = *process->facts;
    facts.folder = kept_folder;
    process->facts = &facts;
    return kept->visit(process, kept->visit_context);
}

static int kept_open(void *unused, const struct http_ask *ask, http_process_visit *visit,
                     void *visit_context) {
    const struct http_source inner = http_memory_source(&memory);
    struct kept_visit kept = {visit, visit_context};
    (void)unused;
    return inner.open(inner.context, ask, with_folder, &kept);
}

static uint64_t now_s(void) {
    return (uint64_t)time(NULL);
}

static void keep_something(struct keep_store *store, uint64_t at_unix_s) {
    struct keep_facts facts = {.pid = (uint32_t)getpid(), .uid = getuid(), .boot = "0123abcd"};
    struct mal_box_history_row rows[5] = {0};
    struct keep_entry *entry;
    struct http_reply heap;
    get("/debug/pprof/heap", &heap);
    for (uint64_t i = 0; i < 5; i++)
        rows[i] = (struct mal_box_history_row){.unix_ns = (at_unix_s + 60 * i) * 1000000000u,
                                               .rss_bytes = 1000 + i};
    assert_int_equal(keep_entry_begin(store, &facts, &entry), 0);
    assert_int_equal(
        keep_entry_add_profile(entry, at_unix_s * 1000000000u, heap.body.data, heap.body.bytes), 0);
    assert_int_equal(keep_entry_add_profile(entry, (at_unix_s + 60) * 1000000000u, "junk", 4), 0);
    assert_int_equal(keep_entry_add_rows(entry, rows, 5), 0);
    snprintf(kept_folder, sizeof kept_folder, "%s", keep_entry_path(entry));
    keep_entry_end(entry);
    http_reply_free(&heap);
}

static void test_kept_rows_and_profiles(void **state) {
    char folder[] = "/tmp/mallard-api.XXXXXX", problem[KEEP_PROBLEM_BYTES], text[256];
    uint64_t at = now_s() - 7200;
    struct keep_store *store;
    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(keep_store_open(folder, KEEP_WRITE, &store, problem), 0);
    keep_something(store, at);
    source = (struct http_source){.open = kept_open};
    snprintf(text, sizeof text, "\"profiles\":[{\"unix_s\":%llu,", (unsigned long long)at);
    HAS("/api/process", text);
    snprintf(text, sizeof text, "\"oldest_unix_s\":%llu}", (unsigned long long)at);
    HAS("/api/history", ",1000,", ",1004,", ",70000000,", text);
    snprintf(text, sizeof text, "/api/profile?at=%llu", (unsigned long long)at);
    HAS(text, "box_fixture_typical", "\"samples\":[[");
    snprintf(text, sizeof text, "/api/profile?at=%llu", (unsigned long long)at + 60);
    assert_error(text, 500, "{\"error\":\"the stored profile is damaged\"}\n");
    assert_error("/api/profile?at=77", 404, "{\"error\":\"no profile is stored for that time\"}\n");
    keep_store_close(store);
    snprintf(text, sizeof text, "rm -rf %s", folder);
    assert_int_equal(system(text), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, scene_begin, scene_end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_documents),
        TEST(test_collector),
        TEST(test_the_dead),
        TEST(test_nothing_published),
        TEST(test_parts_add_up),
        TEST(test_errors_are_json),
        TEST(test_names_cannot_break_out),
        TEST(test_compressed_when_accepted),
        TEST(test_accept_encoding),
        TEST(test_pages),
        TEST(test_knobs_where_the_process_answers),
        TEST(test_assets),
        TEST(test_kept_rows_and_profiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
