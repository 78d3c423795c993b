/* SPDX-License-Identifier: Apache-2.0
 *
 * The shell of the pages and what their tables are made of.
 *
 * The tables stand inside <main id="app">: with JavaScript the page's script takes it over, without
 * they are the page. The icon is an empty one of our own, so that browsers ask for none.
 *
 * SYNCHRONIZATION  None.
 */
#include "http/html.h"

#include "http/assets.h"
#include "http/request.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

void http_html_escaped(struct view_buffer *out, const char *text) {
    http_html_text(out, text, strlen(text));
}

static void put_assets(struct view_buffer *out) {
    const struct http_asset *style = http_asset_like("app-", ".css");
    const struct http_asset *script = http_asset_like("app-", ".js");
    if (style != NULL)
        view_buffer_printf(out, "<link rel=\"stylesheet\" href=\"/assets/%s\">\n", style->name);
    if (script != NULL)
        view_buffer_printf(out, "<script type=\"module\" src=\"/assets/%s\"></script>\n",
                           script->name);
}

void http_html_begin(struct view_buffer *out, const struct http_html_page *page) {
    view_buffer_text(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                          "<meta name=\"viewport\" content=\"width=device-width, "
                          "initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light "
                          "dark\">\n<title>");
    http_html_escaped(out, page->title);
    view_buffer_text(out, "</title>\n<link rel=\"icon\" href=\"data:,\">\n");
    put_assets(out);
    view_buffer_text(out, "</head>\n<body>\n<main id=\"app\" data-home=\"");
    http_html_escaped(out, page->home);
    view_buffer_text(out, "\">\n");
}

void http_html_end(struct view_buffer *out) {
    view_buffer_text(out, "</main>\n</body>\n</html>\n");
}

void http_html_size(struct view_buffer *out, uint64_t bytes) {
    char text[16];
    view_human_bytes(bytes, text);
    view_buffer_printf(out, "<data value=\"%" PRIu64 "\" title=\"%" PRIu64 " bytes\">%s</data>",
                       bytes, bytes, text);
}

void http_html_size_cell(struct view_buffer *out, uint64_t bytes) {
    view_buffer_text(out, "<td class=\"number\">");
    http_html_size(out, bytes);
    view_buffer_text(out, "</td>");
}

void http_html_count_cell(struct view_buffer *out, uint64_t count) {
    view_buffer_printf(out, "<td class=\"number\">%" PRIu64 "</td>", count);
}

void http_html_time(struct view_buffer *out, uint64_t unix_ns) {
    time_t seconds = (time_t)(unix_ns / 1000000000u);
    struct tm parts;
    char machine[40], people[40];
    if (unix_ns == 0 || gmtime_r(&seconds, &parts) == NULL ||
        strftime(machine, sizeof machine, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0 ||
        strftime(people, sizeof people, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
        return;
    view_buffer_printf(out, "<time datetime=\"%s\">%s</time>", machine, people);
}

void http_html_table(struct view_buffer *out, const char *caption, const char *const *columns) {
    view_buffer_printf(out, "<table>\n<caption>%s</caption>\n<thead><tr>", caption);
    for (; *columns != NULL; columns++)
        view_buffer_printf(out, "<th scope=\"col\">%s</th>", *columns);
    view_buffer_text(out, "</tr></thead>\n<tbody>\n");
}

void http_html_table_end(struct view_buffer *out) {
    view_buffer_text(out, "</tbody>\n</table>\n");
}
