// Reads reports, Segmentations and maps as OHIF would, with cornerstone's adapters, and says what
// they hold. A question comes in as JSON on stdin, the answer goes out as JSON on stdout:
//
//   { images: [plane], reports: [path], segmentations: [{ path, stack: [imageId] }],
//     maps: [{ path, stack: [imageId] }] }
//   { reports: { path: report }, segmentations: { path: segments }, maps: { path: map } }
//
// A plane is what a viewer knows of one image: imageId, sopInstanceUID, frame, rows, columns,
// orientation, position, spacing, and the UIDs of frame of reference, series and study.
import { readFileSync } from 'node:fs';

import { adaptersPMAP, adaptersSEG, adaptersSR } from '@cornerstonejs/adapters';
import { metaData } from '@cornerstonejs/core';
import dcmjs from 'dcmjs';

const { MeasurementReport } = adaptersSR.Cornerstone3D;
const { createFromDICOMSegBuffer } = adaptersSEG.Cornerstone3D.Segmentation;
const { generateToolState } = adaptersPMAP.Cornerstone3D.ParametricMap;

const list = (value) => (value === undefined ? [] : Array.isArray(value) ? value : [value]);
const only = (sequence) => list(sequence)[0];
const code = (sequence) => only(sequence)?.CodeValue;

function buffer(path) {
  const bytes = readFileSync(path);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}

function dataset(path) {
  const read = dcmjs.data.DicomMessage.readFile(buffer(path));
  const natural = dcmjs.data.DicomMetaDictionary.naturalizeDataset(read.dict);
  natural._meta = read.meta;
  return natural;
}

// ---- what a viewer knows of the images ----

function plane(image) {
  const [rowCosines, columnCosines] = [image.orientation.slice(0, 3), image.orientation.slice(3)];
  return {
    frameOfReferenceUID: image.frameOfReferenceUID,
    rows: image.rows,
    columns: image.columns,
    imageOrientationPatient: image.orientation,
    rowCosines,
    columnCosines,
    imagePositionPatient: image.position,
    rowPixelSpacing: image.spacing[0],
    columnPixelSpacing: image.spacing[1],
    pixelSpacing: image.spacing,
  };
}

function instance(image) {
  return {
    SOPClassUID: image.sopClassUID,
    SOPInstanceUID: image.sopInstanceUID,
    SeriesInstanceUID: image.seriesInstanceUID,
    StudyInstanceUID: image.studyInstanceUID,
    FrameOfReferenceUID: image.frameOfReferenceUID,
    Modality: image.modality,
    Rows: image.rows,
    Columns: image.columns,
    ImageOrientationPatient: image.orientation,
    ImagePositionPatient: image.position,
    PixelSpacing: image.spacing,
  };
}

const MODULES = {
  instance,
  imagePlaneModule: plane,
  generalImageModule: (image) => ({ sopInstanceUID: image.sopInstanceUID }),
  sopCommonModule: (image) => ({
    sopInstanceUID: image.sopInstanceUID,
    sopClassUID: image.sopClassUID,
  }),
  generalSeriesModule: (image) => ({
    modality: image.modality,
    seriesInstanceUID: image.seriesInstanceUID,
    studyInstanceUID: image.studyInstanceUID,
  }),
  imagePixelModule: (image) => ({ rows: image.rows, columns: image.columns, samplesPerPixel: 1 }),
};

function provide(images) {
  const known = new Map(images.map((image) => [image.imageId, image]));
  const answer = (module, imageId) =>
    known.has(imageId) ? MODULES[module]?.(known.get(imageId)) : undefined;
  metaData.addProvider(answer, 1000);
}

// ---- reports ----

function number(item) {
  const measured = only(item.MeasuredValueSequence);
  const modifier = list(item.ContentSequence).find((one) => one.ValueType === 'CODE');
  return {
    name: code(item.ConceptNameCodeSequence),
    derivation: code(modifier?.ConceptCodeSequence) ?? null,
    value: Number(measured.NumericValue),
    unit: code(measured.MeasurementUnitsCodeSequence),
  };
}

function region(item) {
  const image = list(item.ContentSequence).find((one) => one.ValueType === 'IMAGE');
  const cited = only(image?.ReferencedSOPSequence);
  return {
    type: item.GraphicType,
    points: list(item.GraphicData).length / 2,
    image: cited?.ReferencedSOPInstanceUID ?? null,
  };
}

function group(container) {
  const items = list(container.ContentSequence);
  const of = (type) => items.filter((item) => item.ValueType === type);
  const named = (value) => items.find((item) => code(item.ConceptNameCodeSequence) === value);
  const everywhere = items.flatMap((item) => [item, ...list(item.ContentSequence)]);
  return {
    trackingIdentifier: named('112039')?.TextValue ?? null,
    trackingUID: named('112040')?.UID ?? null,
    finding: code(named('121071')?.ConceptCodeSequence) ?? null,
    numbers: of('NUM').map(number),
    regions: everywhere.filter((item) => item.ValueType === 'SCOORD').map(region),
    segments: of('IMAGE').map((item) => only(item.ReferencedSOPSequence).ReferencedSegmentNumber),
  };
}

function editable(natural, imageIds) {
  const state = MeasurementReport.generateToolState(natural, imageIds, metaData);
  return Object.entries(state).flatMap(([tool, measurements]) =>
    measurements.map((measurement) => ({
      tool,
      trackingUID: measurement.TrackingUniqueIdentifier,
      points: measurement.annotation.data.handles.points.map((point) => Array.from(point)),
      statistics: Object.values(measurement.annotation.data.cachedStats ?? {})[0] ?? null,
    })),
  );
}

function report(path, imageIds) {
  const natural = dataset(path);
  const containers = list(natural.ContentSequence);
  const measurements = containers.find((item) => code(item.ConceptNameCodeSequence) === '126010');
  const groups = list(measurements?.ContentSequence).filter(
    (item) => code(item.ConceptNameCodeSequence) === '125007',
  );
  return {
    title: code(natural.ConceptNameCodeSequence),
    template: only(natural.ContentTemplateSequence)?.TemplateIdentifier ?? null,
    groups: groups.map(group),
    editable: measurements === undefined ? [] : editable(natural, imageIds),
  };
}

// ---- segmentations ----

async function segments({ path, stack }) {
  const read = await createFromDICOMSegBuffer(stack, buffer(path), { metadataProvider: metaData });
  const voxels = {};
  for (const layer of read.labelMapImages) {
    for (const [index, image] of layer.entries()) {
      const labels = image.voxelManager?.getScalarData() ?? image.getPixelData();
      for (const label of labels) {
        if (label === 0) continue;
        voxels[label] ??= {};
        voxels[label][stack[index]] = (voxels[label][stack[index]] ?? 0) + 1;
      }
    }
  }
  const described = read.segMetadata.data.filter((one) => one !== undefined && one !== null);
  return {
    labels: described.map((one) => one.SegmentLabel ?? null).filter((label) => label !== null),
    voxels,
  };
}

// ---- maps ----

async function map({ path, stack }) {
  const { pixelData } = await generateToolState(stack, buffer(path), metaData);
  return {
    type: pixelData.constructor.name,
    voxels: Buffer.from(pixelData.buffer).toString('base64'),
  };
}

// ---- the dialogue ----

async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    return { error: String(error?.stack ?? error) };
  }
}

const question = JSON.parse(readFileSync(0, 'utf-8'));
const say = process.stdout.write.bind(process.stdout);
// The libraries log to the console; what is asked for is the only thing on stdout.
for (const level of ['log', 'info', 'warn', 'debug', 'error']) console[level] = () => {};

provide(question.images);
const imageIds = {};
for (const image of question.images) {
  imageIds[`${image.sopInstanceUID}:${image.frame ?? 1}`] = image.imageId;
  imageIds[image.sopInstanceUID] ??= image.imageId;
}
const answer = { reports: {}, segmentations: {}, maps: {} };
for (const path of question.reports) {
  answer.reports[path] = await attempt(() => report(path, imageIds));
}
for (const one of question.segmentations) {
  answer.segmentations[one.path] = await attempt(() => segments(one));
}
for (const one of question.maps) {
  answer.maps[one.path] = await attempt(() => map(one));
}
say(JSON.stringify(answer), () => process.exit(0));
