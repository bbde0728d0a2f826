//! Runs a script in the JavaScript engine, on the calling thread.

use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use boa_engine::builtins::promise::PromiseState;
use boa_engine::native_function::NativeFunctionPointer;
use boa_engine::object::builtins::JsPromise;
use boa_engine::object::{FunctionObjectBuilder, JsObject};
use boa_engine::parser::source::UTF8Input;
use boa_engine::{
    Context, JsError, JsNativeError, JsResult, JsString, JsValue, NativeFunction, Source,
};
use serde_json::Value;

use super::link::Link;
use super::message::{Request, Script};

/// The value of a script as `JSON.stringify` sees it, `null` where it sees nothing; of a promise
/// what it is resolved with. Or why there is none, with line and column where the engine knows.
pub(super) fn run(script: &Script, link: &Rc<Link>) -> Result<Value, String> {
    let mut context = Context::default();
    context.runtime_limits_mut().set_recursion_limit(RECURSION);
    context.insert_data(link.clone());
    let library = Library::load(&mut context).map_err(|error| error.to_string())?;
    let text = library.run(script, &mut context);
    let text = text.map_err(|error| library.fault(error, &mut context))?;
    if text.len() > RESULT {
        return Err(format!("the result has {} bytes, expected at most {RESULT}", text.len()));
    }
    serde_json::from_str(&text).map_err(|error| format!("the result: {error}"))
}

/// Functions of the library.
struct Library {
    /// Runs a timer; whether there was one.
    timeout: JsObject,
    /// A value as a text for people.
    shown: JsObject,
    /// `JSON.stringify`.
    stringify: JsObject,
}

impl Library {
    /// Puts the library into the global scope.
    fn load(context: &mut Context) -> JsResult<Self> {
        let host: [(usize, NativeFunctionPointer); 3] = [(3, ask), (1, log), (1, pause)];
        let host = host.map(|(length, native)| {
            let native = NativeFunction::from_fn_ptr(native);
            FunctionObjectBuilder::new(context.realm(), native).length(length).build().into()
        });
        let source = Source::from_bytes(include_str!("library.js"));
        let library = context.eval(source.with_path(Path::new("library")))?;
        let library = function(library)?.call(&JsValue::undefined(), &host, context)?;
        let library = library.to_object(context)?;
        let [timeout, shown, stringify] = ["timeout", "shown", "stringify"]
            .map(|name| function(library.get(JsString::from(name), context)?));
        Ok(Self { timeout: timeout?, shown: shown?, stringify: stringify? })
    }

    /// The JSON of what the script gives.
    fn run(&self, script: &Script, context: &mut Context) -> JsResult<String> {
        let value = begin(script, context)?;
        let value = self.settled(value, context)?;
        let text = call(&self.stringify, &[value], context)?;
        Ok(text.as_string().map_or_else(|| "null".to_owned(), |text| text.to_std_string_lossy()))
    }

    /// What becomes of a value that may be a promise: runs what waits until it is settled.
    fn settled(&self, value: JsValue, context: &mut Context) -> JsResult<JsValue> {
        let promise = JsPromise::resolve(value, context)?;
        loop {
            context.run_jobs()?;
            match promise.state() {
                PromiseState::Fulfilled(value) => return Ok(value),
                PromiseState::Rejected(reason) => return Err(JsError::from_opaque(reason)),
                PromiseState::Pending => {}
            }
            if !call(&self.timeout, &[], context)?.to_boolean() {
                return Err(failure("the promise is never settled"));
            }
        }
    }

    /// What went wrong, and where.
    fn fault(&self, error: JsError, context: &mut Context) -> String {
        let place = place(&error.to_string());
        let what = match error.as_engine() {
            Some(engine) => engine.to_string(),
            None => self.said(error, context).unwrap_or_else(|_| "an error without a text".into()),
        };
        let what: String = what.chars().take(FAULT).collect();
        match place {
            Some((line, column)) => format!("{what} at line {line}, column {column}"),
            None => what,
        }
    }

    fn said(&self, error: JsError, context: &mut Context) -> JsResult<String> {
        let thrown = error.into_opaque(context)?;
        Ok(call(&self.shown, &[thrown], context)?.to_string(context)?.to_std_string_lossy())
    }
}

/// Runs what stands in the script.
fn begin(script: &Script, context: &mut Context) -> JsResult<JsValue> {
    match script {
        Script::Expression(text) => context.eval(source(text)),
        Script::Function { source: text, params } => {
            // An expression on a line of its own, as it may end with a comment.
            let text = text.trim_end().trim_end_matches(';');
            let value = context.eval(source(&format!("({text}\n)")))?;
            let params = params
                .iter()
                .map(|param| JsValue::from_json(param, context))
                .collect::<JsResult<Vec<_>>>()?;
            call(&function(value)?, &params, context)
        }
    }
}

/// `ask(path, method, body)`: the body of the answer. Throws the text of an error.
fn ask(_: &JsValue, parameters: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let [path, method, body] = [0, 1, 2].map(|at| text(parameters, at));
    let reply = link(context)?.ask(Request { method, path, body }).map_err(gone)?;
    match reply.status {
        ..400 => Ok(JsString::from(reply.body).into()),
        _ if reply.body.is_empty() => Err(failure(format!("status {}", reply.status))),
        _ => Err(failure(reply.body.trim_end())),
    }
}

/// `log(text)`.
fn log(_: &JsValue, parameters: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    link(context)?.log(&text(parameters, 0)).map_err(gone)?;
    Ok(JsValue::undefined())
}

/// `pause(milliseconds)`.
fn pause(_: &JsValue, parameters: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let millis = parameters.first().map_or(Ok(0.0), |value| value.to_number(context))?;
    // Whoever started the script ends it long before.
    let pause = Duration::try_from_secs_f64(millis / 1000.0).unwrap_or(Duration::MAX);
    thread::sleep(pause.min(PAUSE));
    Ok(JsValue::undefined())
}

fn link(context: &Context) -> JsResult<&Link> {
    let link = context.get_data::<Rc<Link>>().map(Rc::as_ref);
    link.ok_or_else(|| failure("no line to the daemon"))
}

fn text(parameters: &[JsValue], at: usize) -> String {
    let text = parameters.get(at).and_then(JsValue::as_string);
    text.map_or_else(String::new, |text| text.to_std_string_lossy())
}

fn gone(error: std::io::Error) -> JsError {
    failure(format!("the daemon does not answer: {error}"))
}

fn failure(text: impl Into<String>) -> JsError {
    JsNativeError::error().with_message(text.into()).into()
}

fn function(value: JsValue) -> JsResult<JsObject> {
    value.as_callable().ok_or_else(|| {
        let found = value.type_of();
        JsNativeError::typ().with_message(format!("expected a function, found {found}")).into()
    })
}

fn call(function: &JsObject, parameters: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    function.call(&JsValue::undefined(), parameters, context)
}

fn source(text: &str) -> Source<'_, UTF8Input<&[u8]>> {
    Source::from_bytes(text).with_path(Path::new(SCRIPT))
}

/// Line and column in the script, of what the engine shows of an error and of the calls before it:
/// those of the last call, as an error of the engine itself names the call that led there.
fn place(shown: &str) -> Option<(u32, u32)> {
    let (error, calls) = shown.split_once("\n    at ").unwrap_or((shown, ""));
    [calls, error].into_iter().find_map(|shown| {
        let (_, rest) = shown.split_once(&format!("({SCRIPT}:"))?;
        let (line, rest) = rest.split_once(':')?;
        let column = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some((line.parse().ok()?, column.parse().ok()?))
    })
}

/// What the script is called where the engine names a place.
const SCRIPT: &str = "script";

/// Calls within one another.
const RECURSION: usize = 400;

/// Bytes of a result.
const RESULT: usize = 4 << 20;

/// Characters of an error.
const FAULT: usize = 1000;

/// How long a script sleeps at once.
const PAUSE: Duration = Duration::from_secs(3600);
