//! What part of a log can be asked for: `PodLogOptions`.

use crate::{
    field::{Errors, Path},
    options::Query,
    schema::time,
    status::{ApiError, GroupResource},
    validation::fields::NEGATIVE,
};

const POSITIVE: &str = "must be greater than 0";

/// Checks the options of a request for the log of this pod, before anybody looks for the pod.
pub fn check(query: &Query, pod: &str) -> Result<(), ApiError> {
    let seconds = query.integer("sinceSeconds")?;
    let since = query.get("sinceTime");
    if !since.is_empty() {
        time::normalize(since).map_err(|why| ApiError::bad_request(why.to_string()))?;
    }
    let (lines, bytes) = (query.integer("tailLines")?, query.integer("limitBytes")?);
    let mut errors = Errors::default();
    if let Some(lines) = lines.filter(|lines| *lines < 0) {
        errors.invalid(&Path::new("tailLines"), &lines.into(), NEGATIVE);
    }
    if let Some(bytes) = bytes.filter(|bytes| *bytes < 1) {
        errors.invalid(&Path::new("limitBytes"), &bytes.into(), POSITIVE);
    }
    if seconds.is_some() && !since.is_empty() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.forbidden(&Path::ROOT.key(""), why);
    } else if let Some(seconds) = seconds.filter(|seconds| *seconds < 1) {
        errors.invalid(&Path::new("sinceSeconds"), &seconds.into(), POSITIVE);
    }
    // Logs are not told apart by stream (`PodLogsQuerySplitStreams` is off).
    if query.has("stream") {
        errors.forbidden(&Path::new("stream"), "may not be specified");
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(GroupResource { group: "", resource: "PodLogOptions" }, pod, &errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(query: &str) -> String {
        check(&Query::parse(query), "p").err().map(|error| error.message).unwrap_or_default()
    }

    #[test]
    fn amounts_are_positive_and_one_beginning_is_enough() {
        assert_eq!(told("follow=true&tailLines=0&sinceSeconds=1&limitBytes=1&timestamps=x"), "");
        assert_eq!(
            told("tailLines=-1&limitBytes=0&sinceSeconds=0"),
            "PodLogOptions \"p\" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to 0, limitBytes: Invalid value: 0: must be greater than 0, sinceSeconds: Invalid value: 0: must be greater than 0]"
        );
        assert_eq!(
            told("sinceSeconds=5&sinceTime=2020-01-01T00:00:00Z"),
            "PodLogOptions \"p\" is invalid: []: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_as_go_tells_it() {
        assert_eq!(told("tailLines=x"), "strconv.ParseInt: parsing \"x\": invalid syntax");
        assert_eq!(
            told("sinceTime=x"),
            "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""
        );
    }
}
