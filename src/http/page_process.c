/* SPDX-License-Identifier: Apache-2.0
 *
 * "/p/ID/": the numbers of one process as tables: its resident set taken apart, the call sites that
 * hold and made the most, the size classes, the collected heap, the knobs where the process can be
 * asked to turn them, the newest trace lines, the stored profiles, and the commands that fetch the
 * same from a shell.
 *
 * SYNCHRONIZATION  Runs on workers; everything is the request's own.
 */
#include "http/page.h"

#include "http/api.h"
#include "http/html.h"
#include "http/kept.h"
#include "view/class.h"
#include "view/collector.h"
#include "view/sites.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SITES_MAX 20
#define TRACE_LINES 50
#define STORED_MAX 60

struct page {
    const struct http_request *request;
    const struct http_entry *entry;
    struct view_buffer *out;
    bool answers; /* the process can be asked */
};

/* ---- who it is */

static void put_fact(struct view_buffer *out, const char *name, const char *value) {
    if (*value == '\0')
        return;
    view_buffer_printf(out, "<dt>%s</dt><dd>", name);
    http_html_escaped(out, value);
    view_buffer_text(out, "</dd>\n");
}

static void put_time_fact(struct view_buffer *out, const char *name, uint64_t unix_ns) {
    if (unix_ns == 0)
        return;
    view_buffer_printf(out, "<dt>%s</dt><dd>", name);
    http_html_time(out, unix_ns);
    view_buffer_text(out, "</dd>\n");
}

static void put_facts(const struct page *page) {
    struct view_buffer *out = page->out;
    const struct http_entry *entry = page->entry;
    view_buffer_text(out, "<dl>\n");
    put_fact(out, "State", entry->life);
    put_fact(out, "How it ended", entry->sentence);
    put_time_fact(out, "Started", entry->started_unix_ns);
    put_time_fact(out, "Ended", entry->ended_unix_ns);
    put_fact(out, "Command", entry->cmdline);
    put_fact(out, "Program", entry->exe);
    put_fact(out, "User", entry->user);
    put_fact(out, "Unit", entry->unit);
    put_fact(out, "Container", entry->container);
    put_fact(out, "Pod", entry->pod);
    view_buffer_text(out, "<dt>Live heap</dt><dd>");
    http_html_size(out, entry->live_bytes);
    view_buffer_text(out, "</dd>\n<dt>Growth of the live heap per hour</dt><dd>");
    http_page_growth(out, entry);
    view_buffer_printf(out, "</dd>\n<dt>Samples</dt><dd>%" PRIu64 " live, one in ", entry->samples);
    http_html_size(out, entry->rate_bytes);
    view_buffer_text(out, " on average</dd>\n</dl>\n");
}

/* ---- the resident set */

static void put_rss_part(struct view_buffer *out, const struct view_rss *rss,
                         enum view_rss_part part) {
    double whole = rss->resident_bytes > 0 ? (double)rss->resident_bytes : 1;
    view_buffer_printf(out, "<tr><th scope=\"row\">%s</th>", view_rss_label(part));
    if (view_rss_is_unknown(rss, part)) {
        view_buffer_text(out, "<td class=\"number\">not known</td><td></td></tr>\n");
        return;
    }
    http_html_size_cell(out, rss->part[part]);
    view_buffer_printf(out, "<td class=\"number\">%.1f %%</td></tr>\n",
                       100 * (double)rss->part[part] / whole);
}

static void put_rss(const struct page *page, const struct mal_box_stats *stats) {
    static const char *const columns[] = {"Part", "Bytes", "Share", NULL};
    struct view_buffer *out = page->out, sentence = {0};
    struct view_rss rss;
    http_api_rss(page->request, stats, &rss);
    view_rss_sentence(&rss, http_api_live_spread(page->request->reader), &sentence);
    view_buffer_text(out, "<h2>Where the resident memory is</h2>\n<p>");
    http_html_text(out, sentence.data != NULL ? sentence.data : "", sentence.bytes);
    view_buffer_text(out, "</p>\n");
    view_buffer_free(&sentence);
    http_html_table(out, "The resident set in parts that add up to it", columns);
    for (int part = 0; part < VIEW_RSS_PARTS; part++)
        put_rss_part(out, &rss, (enum view_rss_part)part);
    view_buffer_text(out, "</tbody>\n<tfoot><tr><th scope=\"row\">resident</th>");
    http_html_size_cell(out, rss.resident_bytes);
    view_buffer_text(out, "<td class=\"number\">100 %</td></tr></tfoot>\n</table>\n");
}

/* ---- call sites */

static void put_site(struct view_buffer *out, const struct view_site *site) {
    view_buffer_text(out, "<tr><th scope=\"row\"><code>");
    http_html_escaped(out, site->name);
    view_buffer_text(out, "</code>");
    if (*site->file != '\0') {
        view_buffer_text(out, " ");
        http_html_escaped(out, site->file);
        view_buffer_printf(out, ":%" PRId64, site->line);
    }
    view_buffer_text(out, "</th>");
    http_html_size_cell(out, (uint64_t)site->values[HEAP_INUSE_SPACE]);
    http_html_count_cell(out, (uint64_t)site->values[HEAP_INUSE_OBJECTS]);
    http_html_size_cell(out, (uint64_t)site->values[HEAP_ALLOC_SPACE]);
    http_html_count_cell(out, (uint64_t)site->values[HEAP_ALLOC_OBJECTS]);
    view_buffer_text(out, "</tr>\n");
}

static void put_sorted_sites(struct view_buffer *out, const char *caption, struct view_site *sites,
                             size_t count, enum heap_value by) {
    static const char *const columns[] = {"Call site",       "Bytes in use",      "Objects in use",
                                          "Bytes allocated", "Objects allocated", NULL};
    view_sites_sort(sites, count, by);
    http_html_table(out, caption, columns);
    for (size_t i = 0; i < count && i < SITES_MAX && sites[i].values[by] > 0; i++)
        put_site(out, &sites[i]);
    http_html_table_end(out);
}

static void put_sites(const struct page *page) {
    struct view_profile profile;
    struct view_site *sites;
    size_t count;
    view_buffer_text(page->out, "<h2>Call sites</h2>\n");
    if (http_api_heap(page->request, 0, &profile) < 0) {
        view_buffer_text(page->out, "<p>The profile cannot be read.</p>\n");
        return;
    }
    if (view_sites_of(&profile, &sites, &count) == 0) {
        put_sorted_sites(page->out, "The 20 call sites with the most memory in use, estimated",
                         sites, count, HEAP_INUSE_SPACE);
        put_sorted_sites(page->out, "The 20 call sites that allocated the most, estimated", sites,
                         count, HEAP_ALLOC_SPACE);
        free(sites);
    }
    view_profile_free(&profile);
}

/* ---- size classes */

static void put_class(struct view_buffer *out, const struct view_class *class) {
    view_buffer_text(out, "<tr><th scope=\"row\">");
    if (class->size_bytes == 0)
        view_buffer_text(out, "large");
    else
        view_buffer_printf(out, "%" PRIu64, class->size_bytes);
    view_buffer_text(out, "</th>");
    http_html_count_cell(out, class->live_objects);
    http_html_size_cell(out, class->live_bytes);
    http_html_count_cell(out, class->free_objects);
    http_html_size_cell(out, class->free_bytes);
    http_html_count_cell(out, class->spans);
    http_html_size_cell(out, class->waste_bytes);
    view_buffer_text(out, "</tr>\n");
}

static void put_classes(struct view_buffer *out, const struct mal_box_stats *stats) {
    static const char *const columns[] = {
        "Size class", "Live objects", "Live bytes", "Free objects",
        "Free bytes", "Spans",        "Waste",      NULL};
    view_buffer_text(out, "<h2>Size classes</h2>\n");
    http_html_table(out, "Size classes in use; sizes in bytes", columns);
    for (size_t i = 0; i < stats->class_count && i < MAL_BOX_CLASSES_MAX; i++) {
        struct view_class class = view_class_of(stats, i);
        if (class.spans > 0 || class.live_objects > 0 || class.free_objects > 0)
            put_class(out, &class);
    }
    http_html_table_end(out);
}

/* ---- the collected heap */

static void put_ms_fact(struct view_buffer *out, const char *name, uint64_t ns) {
    view_buffer_printf(out, "<dt>%s</dt><dd>%.3f ms</dd>\n", name, (double)ns / 1e6);
}

static void put_size_fact(struct view_buffer *out, const char *name, uint64_t bytes) {
    view_buffer_printf(out, "<dt>%s</dt><dd>", name);
    http_html_size(out, bytes);
    view_buffer_text(out, "</dd>\n");
}

static void put_cycles(struct view_buffer *out, const struct view_collector *collector) {
    view_buffer_printf(out,
                       "<dt>Collections</dt><dd>%" PRIu64 ", %" PRIu64 " of them forced</dd>\n",
                       collector->cycles, collector->forced_cycles);
    if (collector->cycles == 0)
        return;
    put_time_fact(out, "Last collection", collector->last_unix_ns);
    put_ms_fact(out, "Last pause", collector->last_pause_ns);
    put_ms_fact(out, "All pauses", collector->total_pause_ns);
    view_buffer_printf(out, "<dt>CPU time for collecting</dt><dd>%.1f %%</dd>\n",
                       (double)collector->cpu_ppb / 1e7);
    put_size_fact(out, "Live at the last collection", collector->live_bytes);
}

static void put_collector(struct view_buffer *out, const struct mal_box_stats *stats) {
    struct view_collector collector;
    if (!view_collector_of(stats, &collector))
        return;
    view_buffer_text(out, "<h2>Collected heap</h2>\n<dl>\n");
    put_size_fact(out, "Now", collector.heap_bytes);
    if (collector.goal_bytes != VIEW_NO_GOAL)
        put_size_fact(out, "Next collection at", collector.goal_bytes);
    put_cycles(out, &collector);
    view_buffer_text(out, "</dl>\n");
}

/* ---- knobs */

static void put_collect_knob(const struct page *page, const struct mal_box_stats *stats) {
    struct view_collector collector;
    if (view_collector_of(stats, &collector))
        view_buffer_printf(page->out,
                           "<form method=\"post\" action=\"/p/%s/debug/mallard/gc\">\n"
                           "<button>Collect garbage</button>\n</form>\n",
                           page->entry->id);
}

static void put_knobs(const struct page *page, const struct mal_box_stats *stats) {
    struct view_buffer *out = page->out;
    const char *id = page->entry->id;
    if (!page->answers)
        return;
    view_buffer_text(out, "<h2>Knobs</h2>\n");
    view_buffer_printf(out,
                       "<form method=\"post\" action=\"/p/%s/debug/mallard/rate\">\n"
                       "<label>Mean bytes between samples <input name=\"bytes\" type=\"number\" "
                       "min=\"0\" required value=\"%" PRIu64 "\"></label>\n"
                       "<button>Set the rate</button>\n</form>\n",
                       id, page->entry->rate_bytes);
    view_buffer_printf(out,
                       "<form method=\"post\" action=\"/p/%s/debug/mallard/free-os-memory\">\n"
                       "<button>Return free memory to the system</button>\n</form>\n",
                       id);
    put_collect_knob(page, stats);
}

/* ---- trace, stored profiles, commands */

static const char *last_lines(const struct view_buffer *text, size_t lines) {
    const char *at = text->data + text->bytes;
    for (size_t found = 0; at > text->data; at--) {
        if (at[-1] == '\n' && ++found > lines)
            break;
    }
    return at;
}

static void put_trace(const struct page *page) {
    struct view_buffer text = {0};
    uint64_t cursor = 0;
    view_buffer_text(page->out, "<h2>Trace</h2>\n");
    if (http_api_trace_text(page->request->reader, &cursor, &text) < 0 || text.bytes == 0) {
        view_buffer_text(page->out, "<p>No lines.</p>\n");
    } else {
        const char *at = last_lines(&text, TRACE_LINES);
        view_buffer_text(page->out, "<pre>");
        for (const char *end = text.data + text.bytes; at < end;) {
            const char *newline = memchr(at, '\n', (size_t)(end - at));
            http_html_text(page->out, at, (size_t)(newline - at));
            view_buffer_text(page->out, "\n");
            at = newline + 1;
        }
        view_buffer_text(page->out, "</pre>\n");
    }
    view_buffer_free(&text);
}

static void put_stored(const struct page *page) {
    struct keep_profile *profiles;
    size_t count = http_kept_profiles(page->request->facts.folder, &profiles);
    size_t first = count > STORED_MAX ? count - STORED_MAX : 0;
    if (count == 0)
        return;
    view_buffer_text(page->out, "<h2>Stored profiles</h2>\n<ul>\n");
    for (size_t i = count; i-- > first;) {
        view_buffer_printf(page->out,
                           "<li><a href=\"/p/%s/debug/pprof/heap?at=%" PRIu64 "\">heap of ",
                           page->entry->id, profiles[i].unix_s);
        http_html_time(page->out, profiles[i].unix_s * 1000000000u);
        view_buffer_text(page->out, "</a></li>\n");
    }
    view_buffer_text(page->out, "</ul>\n");
    free(profiles);
}

/* Whom the client believes to ask; a Unix socket has no name to write down. */
static void put_base(const struct page *page) {
    const struct http_context *context = page->request->context;
    const char *host = page->request->host != NULL ? page->request->host : context->address;
    view_buffer_printf(page->out, "%s://", context->scheme != NULL ? context->scheme : "http");
    http_html_escaped(page->out, host != NULL ? host : "127.0.0.1");
    view_buffer_printf(page->out, "/p/%s", page->entry->id);
}

static void put_command(const struct page *page, const char *before, const char *path,
                        const char *after) {
    view_buffer_printf(page->out, "<p><code>%s", before);
    put_base(page);
    view_buffer_text(page->out, path);
    view_buffer_printf(page->out, "%s</code></p>\n", after);
}

static void put_commands(const struct page *page) {
    view_buffer_text(page->out, "<h2>The same from a shell</h2>\n");
    put_command(page, "go tool pprof -sample_index=inuse_space -top ", "/debug/pprof/heap", "");
    put_command(page, "curl -so before.pb.gz ", "/debug/pprof/heap", "");
    put_command(page, "go tool pprof -base before.pb.gz -top ", "/debug/pprof/heap", "");
    put_command(page, "curl -s &#39;", "/debug/pprof/heap?debug=1", "&#39;");
    put_command(page, "curl -s ", "/debug/memstats", "");
}

static void put_page(const struct page *page, const struct mal_box_stats *stats) {
    char title[128], home[HTTP_ID_BYTES + 8];
    snprintf(title, sizeof title, "%.80s %" PRIu32 " – Mallard", page->entry->name,
             page->entry->pid);
    snprintf(home, sizeof home, "/p/%s", page->entry->id);
    http_html_begin(page->out, &(struct http_html_page){title, home});
    view_buffer_text(page->out, "<p><a href=\"/\">All processes</a></p>\n<h1>");
    http_html_escaped(page->out, page->entry->name);
    view_buffer_printf(page->out, " <span>%" PRIu32 "</span></h1>\n", page->entry->pid);
    put_facts(page);
    put_rss(page, stats);
    put_sites(page);
    put_classes(page->out, stats);
    put_collector(page->out, stats);
    put_knobs(page, stats);
    put_trace(page);
    put_stored(page);
    put_commands(page);
    http_html_end(page->out);
}

void http_page_process(struct http_request *request, struct http_reply *reply) {
    struct http_entry entry;
    if (http_request_visit(request, reply, http_entry_of, &entry) < 0)
        return;
    struct page page = {.request = request, .entry = &entry, .out = &reply->body};
    if (http_request_open(request, reply) == 0) {
        struct mal_box_stats *stats = http_api_stats(request, reply, &page.answers);
        if (stats != NULL)
            put_page(&page, stats);
        free(stats);
    }
    http_entry_free(&entry);
}
