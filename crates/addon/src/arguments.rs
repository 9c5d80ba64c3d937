//! The arguments of a call from JavaScript: integers, buffers and views, each checked before it is believed.

use napi::bindgen_prelude::FromNapiValue;
use napi::{Error, Result, Status, sys};
use std::marker::PhantomData;
use std::{ptr, slice};
use wasi_udp_engine::table::{SLOT_BYTES, Slot};

/// An argument as JavaScript gave it. It and what it lends live as long as the call, `'call`; what lends memory uses the
/// argument up, so that no two references come of one.
pub struct Argument<'call> {
    env: sys::napi_env,
    value: sys::napi_value,
    call: PhantomData<&'call ()>,
}

/// The memory of an ArrayBuffer.
///
/// The argument keeps it alive through the call, and no JavaScript runs on this thread meanwhile that could detach, shrink
/// or write it; other threads cannot reach it, since it is not shared.
pub struct Memory<'call> {
    start: *mut u8,
    length: usize,
    call: PhantomData<&'call ()>,
}

/// An error that JavaScript sees thrown: an argument broke a rule.
pub fn refuse(rule: impl Into<String>) -> Error {
    Error::new(Status::InvalidArg, rule.into())
}

impl FromNapiValue for Argument<'_> {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> Result<Self> {
        // SAFETY: napi passes the arguments of the current call.
        Ok(unsafe { Self::new(env, value) })
    }
}

impl<'call> Argument<'call> {
    /// # Safety
    /// The value is an argument of a call in the environment that lasts for `'call`, and is taken once.
    #[inline]
    pub unsafe fn new(env: sys::napi_env, value: sys::napi_value) -> Self {
        Self { env, value, call: PhantomData }
    }

    /// An integer of 32 bits.
    #[inline]
    pub fn integer(&self, name: &str) -> Result<i32> {
        let mut number = 0.0;
        // SAFETY: both handles are those of the current call; `number` is ours.
        let status = unsafe { sys::napi_get_value_double(self.env, self.value, &mut number) };
        let integer = number as i32;
        // The cast saturates, and makes 0 of NaN, so what does not come back as it was is no such integer.
        if status == sys::Status::napi_ok && f64::from(integer) == number {
            return Ok(integer);
        }
        let received = if status == sys::Status::napi_ok { format!("{number:?}") } else { self.kind() };
        Err(refuse(format!("{name} must be an integer of 32 bits, got {received}")))
    }

    /// An integer from `least` to `most`.
    #[inline]
    pub fn integer_in(&self, name: &str, least: i32, most: i32) -> Result<i32> {
        let integer = self.integer(name)?;
        if (least..=most).contains(&integer) {
            return Ok(integer);
        }
        Err(refuse(format!("{name} must be an integer from {least} to {most}, got {integer}")))
    }

    /// The memory of an ArrayBuffer, neither shared nor detached.
    #[inline]
    pub fn memory(self, name: &str) -> Result<Memory<'call>> {
        self.memory_of(self.value).ok_or_else(|| {
            refuse(format!("{name} must be an ArrayBuffer, not shared and not detached, got {}", self.kind()))
        })
    }

    #[inline]
    fn memory_of(&self, buffer: sys::napi_value) -> Option<Memory<'call>> {
        let mut unshared = false;
        let mut start = ptr::null_mut();
        let mut length = 0;
        // SAFETY: the handles are those of the current call; the results are ours. Some versions of Node.js take a
        // SharedArrayBuffer in napi_get_arraybuffer_info, so it is told apart first.
        unsafe {
            if sys::napi_is_arraybuffer(self.env, buffer, &mut unshared) != sys::Status::napi_ok
                || !unshared
                || sys::napi_get_arraybuffer_info(self.env, buffer, &mut start, &mut length) != sys::Status::napi_ok
            {
                return None;
            }
        }
        if length == 0 || start.is_null() {
            let mut detached = true;
            // SAFETY: as above.
            let status = unsafe { sys::napi_is_detached_arraybuffer(self.env, buffer, &mut detached) };
            if detached || status != sys::Status::napi_ok {
                return None;
            }
            return Some(Memory { start: ptr::NonNull::dangling().as_ptr(), length: 0, call: PhantomData });
        }
        Some(Memory { start: start.cast(), length, call: PhantomData })
    }

    /// The address slot in a Uint8Array.
    pub fn slot(&self, name: &str) -> Result<Slot> {
        let start = self.start::<SLOT_BYTES>(name)?;
        // SAFETY: `start` has seen to the length; the memory stays for the call (see `Memory`).
        Ok(unsafe { *start })
    }

    /// Writes bytes into a Uint8Array of as many.
    pub fn write_bytes<const N: usize>(&self, name: &str, bytes: &[u8; N]) -> Result<()> {
        let start = self.start::<N>(name)?;
        // SAFETY: `start` has seen to the length; the memory stays for the call (see `Memory`), and nobody holds a
        // reference to it.
        unsafe { *start = *bytes };
        Ok(())
    }

    fn start<const N: usize>(&self, name: &str) -> Result<*mut [u8; N]> {
        match self.view(sys::TypedarrayType::uint8_array) {
            Some(view) if view.length == N => Ok(view.start.cast()),
            view => {
                let received = view.map_or_else(|| self.kind(), |view| format!("one of {} bytes", view.length));
                Err(refuse(format!("{name} must be a Uint8Array of {N} bytes, not shared, got {received}")))
            }
        }
    }

    /// The numbers of an Int32Array.
    pub fn integers(self, name: &str) -> Result<&'call mut [i32]> {
        let Some(view) = self.view(sys::TypedarrayType::int32_array) else {
            return Err(refuse(format!("{name} must be an Int32Array, not shared, got {}", self.kind())));
        };
        // SAFETY: the view has that many elements, at an aligned start (checked in `view`), in memory that stays for the
        // call (see `Memory`). The argument is used up, and the one export that takes a list takes no other buffer, so this
        // is the only reference to it.
        Ok(unsafe { slice::from_raw_parts_mut(view.start.cast(), view.length) })
    }

    /// A view of that type, its length counted in elements.
    fn view(&self, wanted: sys::napi_typedarray_type) -> Option<Memory<'call>> {
        let mut is_view = false;
        let mut kind = -1;
        let mut length = 0;
        let mut start = ptr::null_mut();
        let mut buffer = ptr::null_mut();
        let mut offset = 0;
        // SAFETY: the handles are those of the current call; the results are ours.
        unsafe {
            if sys::napi_is_typedarray(self.env, self.value, &mut is_view) != sys::Status::napi_ok || !is_view {
                return None;
            }
            let status = sys::napi_get_typedarray_info(
                self.env,
                self.value,
                &mut kind,
                &mut length,
                &mut start,
                &mut buffer,
                &mut offset,
            );
            if status != sys::Status::napi_ok || kind != wanted {
                return None;
            }
        }
        self.memory_of(buffer)?;
        if length == 0 {
            return Some(Memory { start: ptr::NonNull::<i32>::dangling().as_ptr().cast(), length, call: PhantomData });
        }
        let aligned = wanted != sys::TypedarrayType::int32_array || start.cast::<i32>().is_aligned();
        (!start.is_null() && aligned).then_some(Memory { start: start.cast(), length, call: PhantomData })
    }

    /// The value itself, where it is a function.
    pub fn function(&self, name: &str) -> Result<sys::napi_value> {
        match self.type_of() {
            sys::ValueType::napi_function => Ok(self.value),
            _ => Err(refuse(format!("{name} must be a function, got {}", self.kind()))),
        }
    }

    /// A function without arguments, to call within this call. What it throws is pending then, and thrown where this call
    /// ends.
    #[cfg(feature = "simulated")]
    pub fn callback(&self, name: &str) -> Result<impl Fn() + use<'call>> {
        let function = self.function(name)?;
        let env = self.env;
        Ok(move || {
            let mut result = ptr::null_mut();
            // SAFETY: both handles are those of the current call, which the closure does not outlive.
            unsafe {
                let mut global = ptr::null_mut();
                sys::napi_get_global(env, &mut global);
                sys::napi_call_function(env, global, function, 0, ptr::null(), &mut result);
            }
        })
    }

    fn type_of(&self) -> sys::napi_valuetype {
        let mut kind = sys::ValueType::napi_undefined;
        // SAFETY: the handles are those of the current call; `kind` is ours.
        unsafe { sys::napi_typeof(self.env, self.value, &mut kind) };
        kind
    }

    /// What the argument is, for messages.
    fn kind(&self) -> String {
        match self.type_of() {
            sys::ValueType::napi_undefined => "undefined",
            sys::ValueType::napi_null => "null",
            sys::ValueType::napi_boolean => "a boolean",
            sys::ValueType::napi_number => "a number",
            sys::ValueType::napi_string => "a string",
            sys::ValueType::napi_symbol => "a symbol",
            sys::ValueType::napi_function => "a function",
            sys::ValueType::napi_bigint => "a bigint",
            _ => "another object",
        }
        .to_owned()
    }
}

impl<'call> Memory<'call> {
    /// The bytes, to read.
    #[inline]
    pub fn bytes(self) -> &'call [u8] {
        // SAFETY: see `Memory`; nobody writes it while the call reads.
        unsafe { slice::from_raw_parts(self.start, self.length) }
    }

    /// The bytes of two buffers, to write; none where they overlap.
    pub fn bytes_mut(self, other: Self) -> Option<(&'call mut [u8], &'call mut [u8])> {
        let (start, other_start) = (self.start as usize, other.start as usize);
        if start < other_start + other.length && other_start < start + self.length {
            return None;
        }
        // SAFETY: see `Memory`; the two do not overlap, so each is the only reference to its bytes.
        unsafe {
            Some((
                slice::from_raw_parts_mut(self.start, self.length),
                slice::from_raw_parts_mut(other.start, other.length),
            ))
        }
    }
}
