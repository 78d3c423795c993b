/* SPDX-License-Identifier: Apache-2.0
 *
 * /assets/NAME: script and style of the page. Names carry a hash of the content, so a browser may
 * keep them for ever; a name that is not in the table is not found, whatever lies on the disk.
 *
 * SYNCHRONIZATION  Runs on the loop; the table is constant.
 */
#include "http/assets.h"

#include "http/routes.h"
#include "view/gzip.h"

#include <string.h>

const struct http_asset *http_asset_find(const char *name) {
    const struct http_asset *asset = http_assets;
    while (asset->name != NULL && strcmp(asset->name, name) != 0)
        asset++;
    return asset->name != NULL ? asset : NULL;
}

static bool is_like(const char *name, const char *begin, const char *end) {
    size_t bytes = strlen(name), end_bytes = strlen(end);
    return strncmp(name, begin, strlen(begin)) == 0 && bytes >= strlen(begin) + end_bytes &&
           strcmp(name + bytes - end_bytes, end) == 0;
}

const struct http_asset *http_asset_like(const char *begin, const char *end) {
    const struct http_asset *asset = http_assets;
    while (asset->name != NULL && !is_like(asset->name, begin, end))
        asset++;
    return asset->name != NULL ? asset : NULL;
}

int http_asset_inflate(const struct http_asset *asset, struct view_buffer *out) {
    return view_gunzip(asset->data, asset->bytes, asset->plain_bytes, out);
}

void http_asset(struct http_request *request, struct http_reply *reply) {
    const struct http_asset *asset = http_asset_find(request->path + strlen(request->route->path));
    if (asset == NULL || asset->type == NULL) {
        http_reply_error(reply, 404, "404 page not found");
        return;
    }
    reply->type = asset->type;
    reply->varies = true;
    reply->cache = "public, max-age=31536000, immutable";
    if (request->accepts_gzip) {
        reply->encoding = "gzip";
        view_buffer_append(&reply->body, asset->data, asset->bytes);
    } else if (http_asset_inflate(asset, &reply->body) < 0) {
        http_reply_error(reply, 500, "not enough memory for the answer");
    }
}
