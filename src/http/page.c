#include "http/routes.h"
void http_page(struct http_request *request, struct http_reply *reply) {
    (void)request;
    reply->type = HTTP_TYPE_HTML;
    reply->flags |= HTTP_REPLY_PAGE | HTTP_REPLY_APP;
    view_buffer_text(&reply->body, "<!DOCTYPE html>\n<title>Mallard</title>\n");
}
void http_asset(struct http_request *request, struct http_reply *reply) {
    (void)request;
    http_reply_error(reply, 404, "404 page not found");
}
