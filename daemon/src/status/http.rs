//! One request's head and one answer, as far as HTTP/1.1 is needed here.

use msg_proto::ids::ClientId;
use serde_json::json;

use super::bridge::Question;
use crate::limits::{DEFAULT_CHAIN_ENTRIES, MAX_CHAIN_ENTRIES, MAX_STATUS_REQUEST_BYTES};

/// What is said of a request that changes something and is no POST.
const ALLOWED_POST: &str = "allowed: POST";

/// Headers of a request; more are refused.
const MAX_HEADERS: usize = 64;

/// What has been read so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Head {
    /// Not all of it.
    Incomplete,
    /// A question.
    Question(Question),
    /// Something to refuse.
    Refused(Refusal),
}

/// An answer that is not 200.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    status: Status,
    what: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Unavailable,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

impl Refusal {
    pub(crate) fn new(status: Status, what: impl Into<String>) -> Self {
        Self { status, what: what.into() }
    }

    /// The whole answer: a JSON object with the text as `error`.
    pub(crate) fn response(&self) -> Vec<u8> {
        let body = json!({ "error": self.what }).to_string();
        let allow = match (self.status, self.what.as_str()) {
            (Status::MethodNotAllowed, ALLOWED_POST) => "Allow: POST\r\n",
            (Status::MethodNotAllowed, _) => "Allow: GET\r\n",
            _ => "",
        };
        response(self.status.line(), allow, body.as_bytes())
    }
}

/// A 200 with a JSON body.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    response("200 OK", "", body)
}

/// Understands a request's head, which ends with an empty line.
pub(crate) fn parse(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Err(error) => refuse(Status::BadRequest, format!("not an HTTP/1.1 request: {error}")),
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_STATUS_REQUEST_BYTES => refuse(
            Status::BadRequest,
            format!("the request's head is longer than {MAX_STATUS_REQUEST_BYTES} bytes"),
        ),
        Ok(httparse::Status::Partial) => Head::Incomplete,
        Ok(httparse::Status::Complete(_)) => {
            let target = request.path.unwrap_or_default();
            match (route(target), request.method) {
                (Err(refusal), Some("POST")) if target.starts_with("/v1/drain") => Head::Refused(refusal),
                (Err(refusal), _) if refusal.status == Status::NotFound => Head::Refused(refusal),
                (Ok(Question::Drain { .. }), method) if method != Some("POST") => {
                    refuse(Status::MethodNotAllowed, ALLOWED_POST)
                }
                (Ok(question @ Question::Drain { .. }), _) => Head::Question(question),
                (_, method) if method != Some("GET") => refuse(Status::MethodNotAllowed, "allowed: GET"),
                (Ok(question), _) => Head::Question(question),
                (Err(refusal), _) => Head::Refused(refusal),
            }
        }
    }
}

fn route(target: &str) -> Result<Question, Refusal> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match path {
        "/v1/status" if query.is_empty() => Ok(Question::Status),
        "/v1/status" => Err(Refusal::new(Status::BadRequest, "/v1/status has no parameters")),
        "/v1/chain" => chain(query),
        "/v1/drain" => drain(query),
        _ => Err(Refusal::new(Status::NotFound, "no such path; there are /v1/status, /v1/chain, /v1/drain")),
    }
}

fn chain(query: &str) -> Result<Question, Refusal> {
    let bad = |what: String| Refusal::new(Status::BadRequest, what);
    let (mut client, mut limit) = (None, DEFAULT_CHAIN_ENTRIES);
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("client", id) => {
                let id =
                    id.parse().map_err(|_| bad(format!("client: {id:?}; allowed: 0 to {}", u32::MAX)))?;
                client = Some(ClientId(id));
            }
            ("limit", count) => {
                let allowed = count.parse().ok().filter(|count| (1..=MAX_CHAIN_ENTRIES).contains(count));
                limit = allowed
                    .ok_or_else(|| bad(format!("limit: {count:?}; allowed: 1 to {MAX_CHAIN_ENTRIES}")))?;
            }
            (other, _) => return Err(bad(format!("unknown parameter {other:?}; allowed: client, limit"))),
        }
    }
    Ok(Question::Chain { client, limit })
}

/// `client=ID`, or `node` for all: one of them, so that nobody drains a node by leaving something out.
fn drain(query: &str) -> Result<Question, Refusal> {
    let id = query.strip_prefix("client=").map(str::parse);
    match (query, id) {
        ("node", _) => Ok(Question::Drain { client: None }),
        (_, Some(Ok(id))) => Ok(Question::Drain { client: Some(ClientId(id)) }),
        _ => Err(Refusal::new(Status::BadRequest, "drain what? client=ID (0 to 4294967295), or node")),
    }
}

fn refuse(status: Status, what: impl Into<String>) -> Head {
    Head::Refused(Refusal::new(status, what))
}

fn response(status: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len() + 1;
    let head = format!(
        "HTTP/1.1 {status}\r\n{extra}Content-Type: application/json\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: &str) -> (Status, String) {
        match parse(request.as_bytes()) {
            Head::Refused(Refusal { status, what }) => (status, what),
            other => panic!("{request:?}: {other:?}"),
        }
    }

    fn get(target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: msgd\r\n\r\n")
    }

    #[test]
    fn questions_are_understood() {
        assert_eq!(parse(get("/v1/status").as_bytes()), Head::Question(Question::Status));
        let all = Question::Chain { client: None, limit: DEFAULT_CHAIN_ENTRIES };
        assert_eq!(parse(get("/v1/chain").as_bytes()), Head::Question(all));
        let some = Question::Chain { client: Some(ClientId(7)), limit: 3 };
        assert_eq!(parse(get("/v1/chain?client=7&limit=3").as_bytes()), Head::Question(some));
        assert_eq!(parse(b"GET /v1/status HTTP/1.0\r\n\r\n"), Head::Question(Question::Status));
    }

    #[test]
    fn a_drain_says_of_whom_and_is_a_post() {
        let post = |target: &str| parse(format!("POST {target} HTTP/1.1\r\n\r\n").as_bytes());
        let one = Question::Drain { client: Some(ClientId(7)) };
        assert_eq!(post("/v1/drain?client=7"), Head::Question(one));
        assert_eq!(post("/v1/drain?node"), Head::Question(Question::Drain { client: None }));
        for query in ["", "?", "?client=", "?client=-1", "?client=7&node", "?all"] {
            assert_eq!(refused(&format!("POST /v1/drain{query} HTTP/1.1\r\n\r\n")).0, Status::BadRequest);
        }
        assert_eq!(refused(&get("/v1/drain?node")), (Status::MethodNotAllowed, "allowed: POST".into()));
    }

    #[test]
    fn every_beginning_of_a_request_is_incomplete() {
        let request = get("/v1/status");
        for length in 0..request.len() {
            assert_eq!(parse(&request.as_bytes()[..length]), Head::Incomplete, "{length}");
        }
    }

    #[test]
    fn what_is_refused_says_what_is_allowed() {
        assert_eq!(refused("what?\r\n\r\n").0, Status::BadRequest);
        assert_eq!(refused("\u{1}\u{2}").0, Status::BadRequest);
        assert_eq!(refused(&get("/")).0, Status::NotFound);
        assert_eq!(refused(&get("/v1/status?x=1")).0, Status::BadRequest);
        assert_eq!(refused("POST / HTTP/1.1\r\n\r\n").0, Status::NotFound);
        assert_eq!(
            refused("POST /v1/status HTTP/1.1\r\n\r\n"),
            (Status::MethodNotAllowed, "allowed: GET".into())
        );
        let (status, what) = refused(&get("/v1/chain?limit=0"));
        assert_eq!((status, what.as_str()), (Status::BadRequest, "limit: \"0\"; allowed: 1 to 10000"));
        assert_eq!(refused(&get("/v1/chain?client=-1")).0, Status::BadRequest);
        assert_eq!(refused(&get("/v1/chain?client=4294967296")).0, Status::BadRequest);
        assert!(refused(&get("/v1/chain?id=1")).1.ends_with("allowed: client, limit"));
    }

    #[test]
    fn a_head_that_does_not_end_is_refused() {
        let long = format!("GET /v1/status HTTP/1.1\r\nX: {}", "x".repeat(MAX_STATUS_REQUEST_BYTES));
        assert_eq!(parse(&long.as_bytes()[..MAX_STATUS_REQUEST_BYTES - 1]), Head::Incomplete);
        assert_eq!(refused(&long[..MAX_STATUS_REQUEST_BYTES]).0, Status::BadRequest);
        let many = format!("GET /v1/status HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(refused(&many).0, Status::BadRequest);
    }

    #[test]
    fn an_answer_has_its_length() {
        let expected = "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nContent-Type: application/json\r\n\
                        Content-Length: 25\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n\
                        {\"error\":\"allowed: GET\"}\n";
        let answer = Refusal::new(Status::MethodNotAllowed, "allowed: GET").response();
        assert_eq!(String::from_utf8(answer).expect("text"), expected);
    }
}
